"""The README's Python blocks that need no corpus, run as they stand."""

from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
BLOCKS = [part.split("```")[0] for part in README.read_text("utf-8").split("```python\n")[1:]]


@pytest.mark.parametrize(
    "mark",
    [pytest.param("A toy language", marks=pytest.mark.slow), "attention = AttentionDecoder"],
)
def test_a_block_runs(mark, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = [block for block in BLOCKS if mark in block]
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})


def test_every_block_is_python():
    assert len(BLOCKS) >= 4
    for block in BLOCKS:
        compile(block, "README.md", "exec")
