"""Pronounces words with another program; runs in a virtual environment of its own.

    pip install g2p-en==2.1.0 phonetisaurus==0.3.0
    python phones.py g2p-en < words.txt
    python phones.py phonetisaurus --model FILE.fst [--lexicon FILE] < words.txt

Reads one word a line; writes JSON: the phones of each word, and the CPU seconds of prediction and
training (`phonetisaurus`, if there is a lexicon of lines `WORD<tab>P H O N E S`).
"""

import argparse
import json
import os
import re
import sys
import types


def cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def of_g2p_en(words: list[str]) -> list[str]:
    """The network that g2p-en ships, without its dictionary; stress marks are removed."""
    import nltk

    # Neither its dictionary nor its part-of-speech tagger is used.
    nltk.download = lambda *_, **__: False
    from g2p_en import g2p

    g2p.cmudict = types.SimpleNamespace(dict=dict)
    network = g2p.G2p()
    return [re.sub(r"\d", "", " ".join(network.predict(word.lower()))) for word in words]


def of_phonetisaurus(words: list[str], model: str) -> list[str]:
    import phonetisaurus

    found = {}
    for word, phones in phonetisaurus.predict(words, model):
        found.setdefault(word, " ".join(phones))
    return [found.get(word, "") for word in words]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("system", choices=("g2p-en", "phonetisaurus"))
    parser.add_argument("--model")
    parser.add_argument("--lexicon")
    options = parser.parse_args()
    words = sys.stdin.read().split()
    result: dict[str, object] = {}
    if options.lexicon:
        import phonetisaurus

        start = cpu_seconds()
        with open(options.lexicon, encoding="utf-8") as file:
            phonetisaurus.train(phonetisaurus.load_lexicon(file), options.model)
        result["training_cpu_seconds"] = cpu_seconds() - start
    start = cpu_seconds()
    if options.system == "g2p-en":
        result["phones"] = of_g2p_en(words)
    else:
        result["phones"] = of_phonetisaurus(words, options.model)
    result["cpu_seconds"] = cpu_seconds() - start
    json.dump(result, sys.__stdout__)


if __name__ == "__main__":
    main()
