"""The tutorial notebook has no machine-specific metadata, and its cells run in order."""

import importlib.util
import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest

DOCS = Path(__file__).parent.parent / "docs"
NOTEBOOK = DOCS / "tutorial.ipynb"
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")


@pytest.fixture
def notebook():
    return json.loads(NOTEBOOK.read_text("utf-8"))


def sources(notebook, kind):
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def test_links_resolve_to_files(notebook):
    for block in sources(notebook, "markdown"):
        for target in LINK.findall(block):
            assert "://" in target or (DOCS / target).is_file(), target


def test_notebook_keeps_only_image_outputs(notebook):
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    images = []
    for cell in notebook["cells"]:
        assert not cell["metadata"]
        assert cell.get("execution_count") is None
        for output in cell.get("outputs", ()):
            assert set(output["data"]) == {"image/png"}
            images.append(output["data"]["image/png"])
    assert len(images) == 2
    assert all(len(image) < 80_000 for image in images)  # 60 KB in base64


def test_site_shows_all_cells(notebook):
    specification = importlib.util.spec_from_file_location("hooks", DOCS / "hooks.py")
    hooks = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(hooks)
    page = hooks.to_markdown(NOTEBOOK.read_text("utf-8"))
    assert page.startswith("# ")
    assert page.count("```python\n") == len(sources(notebook, "code"))
    assert page.count("](data:image/png;base64,") == 2
    for block in sources(notebook, "markdown") + sources(notebook, "code"):
        assert block in page


@pytest.fixture
def run_cells(notebook, tmp_path, monkeypatch):
    """Runs all code cells in one namespace, after replacements in their text; returns it."""
    import matplotlib

    if keras.backend.backend() != "tensorflow":
        pytest.skip("the corpus is read with TensorFlow Datasets")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    matplotlib.use("Agg")

    def run(replace=()):
        namespace = {"__name__": "tutorial"}
        for number, block in enumerate(sources(notebook, "code")):
            for old, new in replace:
                block = block.replace(old, new)
            exec(compile(block, f"code cell {number}", "exec"), namespace)
        return namespace

    return run


@pytest.mark.slow
def test_cells_run_in_order(run_cells):
    namespace = run_cells([("6_000", "256"), ("400", "20"), ("epochs=4", "epochs=1")])
    for found in namespace["translator"](["einundvierzig", "3. Oktober 1990"]):
        assert found.attention.shape == (len(found.target_tokens), len(found.source_tokens))
        np.testing.assert_allclose(found.attention.sum(axis=1), 1, atol=1e-3)


@pytest.mark.slow
@pytest.mark.release
def test_attention_learns_more_than_the_fixed_vector(run_cells):
    namespace = run_cells()
    right = {
        "einundvierzig": "forty-one",
        "siebenundachtzig": "eighty-seven",
        "siebenhundertdreiundzwanzig": "seven hundred and twenty-three",
        "3. Oktober 1990": "October 3, 1990",
        "24. Dezember 2027": "December 24, 2027",
    }
    found = namespace["translator"](list(right))
    assert sum(each.text == text for each, text in zip(found, right.values(), strict=True)) >= 4

    matches = {name: exact.mean() for name, exact in namespace["matches"].items()}
    assert matches["with attention"] > 0.8
    assert matches["with attention"] > matches["without attention"] + 0.1
    assert namespace["exact_matches"](namespace["with_own_score"]).mean() > 0.8
