"""What the exported models are asked, and how they search."""

TEXTS = ["ein Haus", "", "zwei kleine Häuser am See", "  ein  Haus ", "🙂 שלום", "ein"]
OPTIONS = {"beam_size": 3, "length_penalty": 0.6, "max_length": 12}
