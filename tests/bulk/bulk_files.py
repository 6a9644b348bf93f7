"""Files to translate in bulk, and what is found in an output folder."""

from pathlib import Path

import numpy as np

SENTENCES = ["ein Haus am See", "zwei kleine Häuser", "ein kleines Haus", "See", "Häuser am See"]


def many_lines(count, seed=0):
    """Lines that differ, and some that are blank."""
    generator = np.random.default_rng(seed)
    lines = []
    for _ in range(count):
        chosen = generator.choice(SENTENCES, generator.integers(0, 3))
        lines.append(" ".join(chosen))
    return lines


def content_of(folder):
    """Bytes of all files that are not hidden, by name."""
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}


def parts_of(folder):
    """Translated parts in an output folder that is not finished."""
    return list(Path(folder, ".bulk-translate").glob("*/*.text*"))


def finished_parts(folder):
    return [path for path in parts_of(folder) if not path.name.endswith(".unfinished")]
