"""What the exported models are asked, and how they search."""

TEXTS = ["ein Haus", "", "zwei kleine Häuser am See", "  ein  Haus ", "🙂 שלום", "ein"]
OPTIONS = {"beam_size": 3, "length_penalty": 0.6, "max_length": 12}
GREEDY = {**OPTIONS, "beam_size": 1}
LIMITS = {
    "max_source_length": 64,
    "max_target_length": OPTIONS["max_length"],
    "length_penalty": OPTIONS["length_penalty"],
}
