"""Aligns words by eflomal; runs in a virtual environment of its own.

    pip install eflomal==2.0.0 nltk==3.10.4
    python align_words.py SOURCE TARGET > LINKS

Words are what stands between spaces; the aligner sees them in lower case and without punctuation
around them. Both directions are symmetrised: links of both are sure (`0-1`), those that
grow-diag-final-and (Koehn et al. 2003) adds are possible (`0p1`).
"""

import re
import sys
import tempfile
from pathlib import Path

import eflomal
from nltk.translate.gdfa import grow_diag_final_and


def words(line: str) -> list[str]:
    found = (re.sub(r"^\W+|\W+$", "", word).lower() or word for word in line.split(" ") if word)
    # Other white space, such as a no-break space, is part of a word, but would split it in eflomal.
    return [re.sub(r"\s", "_", word) for word in found]


def main() -> None:
    source, target = (
        [
            words(line)
            for line in Path(path).read_text(encoding="utf-8").removesuffix("\n").split("\n")
        ]
        for path in sys.argv[1:]
    )
    with tempfile.TemporaryDirectory() as folder:
        forward, backward = Path(folder, "forward"), Path(folder, "backward")
        eflomal.Aligner().align(
            [" ".join(line) for line in source],
            [" ".join(line) for line in target],
            links_filename_fwd=str(forward),
            links_filename_rev=str(backward),
        )
        links = [path.read_text(encoding="utf-8").splitlines() for path in (forward, backward)]
    for one, other, ahead, back in zip(source, target, *links, strict=True):
        joined = grow_diag_final_and(len(one), len(other), ahead, back)
        both = set(ahead.split()) & set(back.split())
        ordered = sorted(joined, key=lambda link: link[::-1])
        print(" ".join(f"{i}{'-' if f'{i}-{j}' in both else 'p'}{j}" for i, j in ordered))


if __name__ == "__main__":
    main()
