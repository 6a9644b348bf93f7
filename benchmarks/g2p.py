"""Letters to phones beside other programs, on the same test words in one run, one thread each.

    python benchmarks/g2p.py MODEL --data FOLDER --peers .venv/phones/bin/python

MODEL was trained with the recipe `g2p`; FOLDER has line-aligned `train.word`, `train.phones`,
`test.word`, ..., plain or gzip. `--peers` is a Python with g2p-en 2.1.0 and phonetisaurus 0.3.0:
the network that g2p-en ships predicts without its dictionary, and phonetisaurus is trained on the
same words. A word may have several pronunciations; any is right. Milliseconds are CPU time: of one
word after the other for `.tflite` files, else of batches or of the whole list.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

THREADS = {
    name: "1" for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
}


# Of the recipe.
MAX_LENGTH = 40
SEARCHES = {1: "greedy", 5: "beam 5"}


def entries(folder: str, split: str) -> list[tuple[str, str]]:
    from keras_attn_nmt.training.recipe import DataRecipe
    from keras_attn_nmt.training.splits import load_split

    data = DataRecipe("dictionary", "word", "phones", folder, split, split, split)
    return [
        (word.decode(), phones.decode())
        for word, phones in load_split(data, "test").as_numpy_iterator()
    ]


def row(system: str, found: list[str], references: list[list[str]], **others: Any) -> dict:
    from keras_attn_nmt.training.phone_errors import error_rates

    return {"system": system, **error_rates(found, references), **others}


def ours(model: str, words: list[str], references: list[list[str]]) -> list[dict]:
    from keras_attn_nmt.translator import Translator

    translator = Translator.load(model)
    rows = []
    for beam in SEARCHES:
        translator(words[:1], beam_size=beam)
        start = time.process_time()
        found = [each.text for each in translator(words, beam_size=beam)]
        seconds = time.process_time() - start
        rows.append(
            row(
                f"keras_attn_nmt, {SEARCHES[beam]}",
                found,
                references,
                milliseconds=1000 * seconds / len(words),
            )
        )
    return rows


def on_devices(model: str, words: list[str], references: list[list[str]]) -> list[dict]:
    from keras_attn_nmt.export import TFLiteTranslator, export_tflite

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = export_tflite(
            model,
            Path(folder, "g2p.tflite"),
            quantize="int8",
            beam_size=5,
            max_source_length=MAX_LENGTH,
            max_target_length=MAX_LENGTH,
        )
        runner = TFLiteTranslator(path)
        for beam in SEARCHES:
            runner(words[:20], beam_size=beam)
            start = time.process_time()
            found = [runner([word], beam_size=beam)[0].text for word in words]
            milliseconds = 1000 * (time.process_time() - start) / len(words)
            name = f"int8 .tflite, {SEARCHES[beam]}"
            size = path.stat().st_size / 1e6
            rows.append(row(name, found, references, milliseconds=milliseconds, megabytes=size))
    return rows


def peers(
    python: str, folder: str, words: list[str], references: list[list[str]], model: str | None
) -> list[dict]:
    rows = []
    script = str(Path(__file__).parent / "peers" / "phones.py")
    with tempfile.TemporaryDirectory() as temporary:
        arguments = ["--model", model or f"{temporary}/model.fst"]
        if not model:
            lexicon = Path(temporary, "train.lexicon")
            lexicon.write_text("".join(f"{w}\t{p}\n" for w, p in entries(folder, "train")))
            arguments += ["--lexicon", str(lexicon)]
        for system, given in (("g2p-en", []), ("phonetisaurus", arguments)):
            done = subprocess.run(
                [python, script, system, *given],
                input="".join(f"{word}\n" for word in words),
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            answer = json.loads(done.stdout.splitlines()[-1])
            milliseconds = 1000 * answer["cpu_seconds"] / len(words)
            others = {"milliseconds": milliseconds}
            if "training_cpu_seconds" in answer:
                others["training_cpu_minutes"] = answer["training_cpu_seconds"] / 60
            if system == "phonetisaurus":
                others["megabytes"] = Path(arguments[1]).stat().st_size / 1e6
            rows.append(row(system, answer["phones"], references, **others))
    return rows


def table(rows: list[dict]) -> str:
    columns = {
        "word_error_rate": ("word error rate", "{:.2%}"),
        "phone_error_rate": ("phone error rate", "{:.2%}"),
        "milliseconds": ("CPU ms a word", "{:.2f}"),
        "megabytes": ("MB", "{:.2f}"),
        "training_cpu_minutes": ("CPU min. of training", "{:.1f}"),
    }
    lines = [f"| system | {' | '.join(head for head, _ in columns.values())} |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for each in rows:
        cells = [
            shape.format(each[name]) if name in each else "" for name, (_, shape) in columns.items()
        ]
        lines.append(f"| {each['system']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--data", required=True, metavar="FOLDER")
    parser.add_argument("--peers", metavar="PYTHON")
    parser.add_argument("--phonetisaurus", metavar="FST", help="a trained model (default: train)")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in THREADS.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **THREADS})
    from keras_attn_nmt.training.dictionaries import pronunciations

    dictionary = pronunciations(entries(options.data, "test"))
    words, references = list(dictionary), list(dictionary.values())
    rows = ours(options.model, words, references) + on_devices(options.model, words, references)
    if options.peers:
        rows += peers(options.peers, options.data, words, references, options.phonetisaurus)
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    print(f"{len(words)} words with {sum(map(len, references))} pronunciations\n\n{table(rows)}")


if __name__ == "__main__":
    main()
