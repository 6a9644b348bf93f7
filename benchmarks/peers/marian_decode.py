"""CPU time of Marian for one row of `marian_int8.py`, in Marian's own environment.

    .venv/marian/bin/python marian_decode.py < row.json

The row has Marian's `options` as words of its command line, `sentences` as pieces with spaces
between them, and whether they come in one call (`at_once`) or one by one. The first 64 are
translated before, to warm up. Prints one line of JSON: CPU seconds, and tokens of each translation.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time


def main() -> None:
    """Measures the row of the standard input."""
    row = json.load(sys.stdin)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    from pymarian import Translator

    sentences = row["sentences"]
    calls = ["\n".join(sentences)] if row["at_once"] else sentences
    with contextlib.redirect_stdout(sys.stderr):
        translator = Translator(" ".join(row["options"]))
        translator.translate("\n".join(sentences[:64]))
        begin = time.process_time()
        found = [translator.translate(call) for call in calls]
        seconds = time.process_time() - begin
    lines = [line for each in found for line in each.splitlines()]
    print(json.dumps({"seconds": seconds, "tokens": [len(line.split()) for line in lines]}))


if __name__ == "__main__":
    main()
