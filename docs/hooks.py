"""Lays the package out for mkdocstrings; adds the tutorial and the demo's web page."""

import json
import shutil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# The `paths` of mkdocstrings in mkdocs.yml.
LAID_OUT = ROOT / "build" / "documented"
NOTEBOOK, PAGE = "tutorial.ipynb", "tutorial.md"
# Written by `make demo`; too large for the repository.
DEMO, DEMO_PAGE = ROOT / "build" / "demo" / "web" / "index.html", "demo.html"
DEMO_MARK = "<!-- link to the demo -->"
DEMO_LINK = f"**[Try it with the demo's model]({DEMO_PAGE})**: one file to save or mail."
DOWNLOAD = f"[Download this page as a Jupyter notebook]({NOTEBOOK})"


def on_startup(**_: Any) -> None:
    """Copies the folders to where `package_dir` in setup.cfg installs them."""
    package = LAID_OUT / "keras_attn_nmt"
    shutil.rmtree(LAID_OUT, ignore_errors=True)
    shutil.copytree(ROOT / "keras_attn_nmt", package)
    for name in ("training", "export"):
        shutil.copytree(ROOT / name, package / name)


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """Adds the tutorial's page, beside the notebook for download, and the demo's page if there."""
    from mkdocs.structure.files import File

    content = to_markdown((ROOT / "docs" / NOTEBOOK).read_text("utf-8"))
    files.append(File.generated(config, PAGE, content=content))
    if DEMO.is_file():
        files.append(File.generated(config, DEMO_PAGE, content=DEMO.read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Pages link to the notebook, which is there on GitHub, too: on the site, to its page."""
    if page.file.src_uri == PAGE:
        title, rest = markdown.split("\n", 1)
        return f"{title}\n\n{DOWNLOAD}\n{rest}"
    markdown = markdown.replace(DEMO_MARK, DEMO_LINK if DEMO.is_file() else "")
    return markdown.replace(f"{NOTEBOOK})", f"{PAGE})")


def to_markdown(notebook: str) -> str:
    """The cells of a notebook as Markdown, with its code and the images that it drew."""
    blocks = []
    for cell in json.loads(notebook)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            blocks.append(source)
            continue
        blocks.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            image = "".join(output.get("data", {}).get("image/png", ()))
            if image:
                blocks.append(f"![Output of the cell](data:image/png;base64,{image})")
    return "\n\n".join(blocks) + "\n"
