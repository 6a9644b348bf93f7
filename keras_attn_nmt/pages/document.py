"""One self-contained HTML file: data, scripts and styles in it, and no access to a network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

# The view of one translation, in the order of loading.
ATTENTION_SCRIPTS = ("elements.js", "attention_text.js", "attention_map.js", "attention_view.js")
ATTENTION_STYLES = ("attention_view.css",)
# What ends a script in HTML, whatever its type, begins with "<".
_ESCAPED = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}


def html_document(
    title: str,
    data: Any,
    scripts: Sequence[str],
    styles: Sequence[str],
    language: str = "en",
) -> str:
    """A page that its scripts build from data.

    Args:
        title: Title of the page.
        data: JSON-serializable; scripts read it from the element `data`.
        scripts: Names of scripts in this folder, in order; they fill the element `page`.
        styles: Names of style sheets in this folder.
        language: Language of the page, not of its data.
    """
    codes = [asset(name) for name in scripts]
    sheets = [asset(name) for name in styles]
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"script-src {_hashes(codes)}; style-src {_hashes(sheets)}"
    )
    return "".join(
        (
            f'<!DOCTYPE html>\n<html lang="{html.escape(language)}">\n<head>\n',
            '<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            f"<title>{html.escape(title)}</title>\n",
            *(f"<style>{sheet}</style>\n" for sheet in sheets),
            '</head>\n<body>\n<main id="page"></main>\n',
            "<noscript>This page needs JavaScript.</noscript>\n",
            f'<script type="application/json" id="data">{escaped_json(data)}</script>\n',
            *(f"<script>{code}</script>\n" for code in codes),
            "</body>\n</html>\n",
        )
    )


def asset(name: str) -> str:
    """The content of a script or style sheet in this folder."""
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def escaped_json(data: Any) -> str:
    """JSON that may stand in a script element, whatever text is in it."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPED)


def _hashes(contents: Sequence[str]) -> str:
    """The source list of a Content Security Policy that allows these inline elements alone."""
    digests = (hashlib.sha256(content.encode()).digest() for content in contents)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
