"""Joins the files of an exported page into one HTML file."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from collections.abc import Mapping

from keras_attn_nmt.export.errors import ExportError

PAGE = "index.html"
_POLICY = re.compile(r'(<meta http-equiv="Content-Security-Policy" content=")[^"]*(">)')
_STYLE = re.compile(r'<link rel="stylesheet" href="([\w.]+)">')
_SCRIPT = re.compile(r'<script src="([\w.]+)"></script>')


def joined(files: Mapping[str, bytes]) -> bytes:
    """One page with its styles and scripts, and all other files as compressed data blocks.

    Its Content-Security-Policy names the hash of each script and style, and allows no connection.

    Args:
        files: Content by name, `index.html` among them.

    Raises:
        ExportError: A script or style contains its own end tag.
    """
    page = files[PAGE].decode()
    hashes: dict[str, list[str]] = {"script": [], "style": []}
    inline = set(_STYLE.findall(page)) | set(_SCRIPT.findall(page))

    def element(kind: str, name: str) -> str:
        content = f"\n{files[name].decode()}"
        if f"</{kind}" in content.lower():
            raise ExportError(f"{name} contains </{kind}, which would end its element.")
        digest = hashlib.sha256(content.encode()).digest()
        hashes[kind].append(f"'sha256-{base64.b64encode(digest).decode()}'")
        # The worker has some scripts, too, and reads them from here.
        return f'<{kind} data-name="{name}">{content}</{kind}>'

    page = _STYLE.sub(lambda match: element("style", match[1]), page)
    first = _SCRIPT.search(page)
    data = "".join(_data(name, files[name]) for name in sorted(set(files) - inline - {PAGE}))
    page = page[: first.start()] + data + page[first.start() :] if first else page + data
    page = _SCRIPT.sub(lambda match: element("script", match[1]), page)
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"script-src {' '.join(hashes['script'])} 'wasm-unsafe-eval'; "
        f"worker-src blob:; style-src {' '.join(hashes['style'])}; img-src blob: data:"
    )
    page, count = _POLICY.subn(lambda match: f"{match[1]}{policy}{match[2]}", page)
    if count != 1:
        raise ExportError(f"The page has {count} content security policies, expected 1.")
    return page.encode()


def _data(name: str, content: bytes) -> str:
    packed = base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()
    return f'<script type="application/octet-stream" data-name="{name}">{packed}</script>\n'
