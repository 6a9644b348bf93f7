"""LiteRT.js, the runtime of an exported page: fetched, checked by its SHA-512, cached and bundled.

It is never part of this package. The two npm packages come from a folder of the user, the cache,
`npm pack` (which follows the user's npm configuration) or the public npm registry, in this order.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import logging
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from keras_attn_nmt.export.errors import ExportError
from keras_attn_nmt.writing import atomic_write

REGISTRY = "https://registry.npmjs.org"
VERSION = "2.5.3"
SECONDS = 120

logger = logging.getLogger(__name__)


class Package(NamedTuple):
    """A pinned npm package.

    Attributes:
        name: Name on npm.
        archive: File name that `npm pack` gives it.
        sha512: Of the archive, in base64 (npm's `dist.integrity`).
    """

    name: str
    archive: str
    sha512: str

    @property
    def url(self) -> str:
        """Its address in the public registry."""
        last = self.name.rpartition("/")[2]
        return f"{REGISTRY}/{self.name}/-/{last}-{VERSION}.tgz"


CORE = Package(
    "@litertjs/core",
    f"litertjs-core-{VERSION}.tgz",
    "PlGmbMOq9WitX7FO0jhbdJw9GthatsyuCQXjTt/wJZo0FLaw48q4tz8IwqgqCIkviYGr9OFDL1kCnN4nzWoyJQ==",
)
WASM_UTILS = Package(
    "@litertjs/wasm-utils",
    f"litertjs-wasm-utils-{VERSION}.tgz",
    "4fJiw6tBQnIs+0jH/OQ16nYOiSl8/+zZnn5h2ul8aTKHi05sVqZW580Tmk78pC2kT39A9OYBVdFawteZ/sI1kQ==",
)
NOTICE = f"""\
{CORE.name} {VERSION} and {WASM_UTILS.name} {VERSION} (LiteRT.js)
https://github.com/google-ai-edge/LiteRT
Licensed under the Apache License, Version 2.0: see LICENSE.

litert.js is made of both packages: joined, with their import and export statements replaced.
litert_wasm.js and litert.wasm are litert_wasm_compat_internal.js and .wasm, unchanged.
"""


def runtime_files(folder: str | os.PathLike[str] | None = None) -> dict[str, bytes]:
    """The files of the runtime for a page.

    Args:
        folder: Folder with both archives, as `npm pack` writes them; by default the cache, which is
            filled if needed.

    Returns:
        Content by file name: `litert.js` (a classic script that defines `LiteRT`),
        `litert_wasm.js`, `litert.wasm` and `NOTICE`.

    Raises:
        FileNotFoundError: The folder lacks an archive.
        ExportError: An archive is damaged, or is not the pinned one.
        OSError: There is no archive, and none can be downloaded.
    """
    core, wasm_utils = (_archive(package, folder) for package in (CORE, WASM_UTILS))
    script, glue, binary = _members(
        core,
        "package/dist/index.js",
        "package/wasm/litert_wasm_compat_internal.js",
        "package/wasm/litert_wasm_compat_internal.wasm",
    )
    (loader,) = _members(wasm_utils, "package/dist/index.js")
    return {
        "litert.js": bundle(script.decode(), loader.decode()).encode(),
        "litert_wasm.js": glue,
        "litert.wasm": binary,
        "NOTICE": NOTICE.encode(),
    }


def bundle(core: str, wasm_utils: str) -> str:
    """Joins the ES modules of both packages into one classic script, for a classic worker.

    Args:
        core: `dist/index.js` of `@litertjs/core`.
        wasm_utils: `dist/index.js` of `@litertjs/wasm-utils`.

    Returns:
        A script that defines `LiteRT.loadLiteRt`, `LiteRT.loadAndCompile` and `LiteRT.Tensor`. The
        first expects that `litert_wasm.js` has run, and does not load it.

    Raises:
        ExportError: A module is not written as that of the pinned version.
    """
    core = _replaced(core, r'^import \{ createWasmLib \} from "@litertjs/wasm-utils";$', "")
    core, names = _without_exports(core)
    loader, loader_names = _without_exports(wasm_utils)
    missing = {"loadLiteRt", "loadAndCompile", "Tensor"} - names
    if missing or loader_names != {"createWasmLib"} or re.search(r"^import\b", core, re.M):
        raise _changed("other imports or exports")
    return (
        f"// LiteRT.js {VERSION} (Apache-2.0, see NOTICE), joined into one classic script.\n"
        '"use strict";\n'
        "globalThis.LiteRT = (() => {\n"
        # By its address, a worker of a page without a server cannot load a script.
        "const importScripts = () => {};  // litert_wasm.js is there already.\n"
        f"const {{createWasmLib}} = (() => {{\n{loader}\n"
        f"return {{createWasmLib}};\n}})();\n{core}\n"
        "return {loadLiteRt, loadAndCompile, Tensor};\n})();\n"
    )


def _without_exports(module: str) -> tuple[str, set[str]]:
    module = _replaced(module, r"^//# sourceMappingURL=\S+\s*$", "")
    found = re.findall(r"^export \{([\w\s,]*)\};$", module, re.M)
    module = _replaced(module, r"^export \{[\w\s,]*\};$", "")
    return module, set(re.findall(r"\w+", found[0]))


def _replaced(module: str, pattern: str, by: str) -> str:
    module, count = re.subn(pattern, by, module, flags=re.M)
    if count != 1:
        raise _changed(f"{count} matches of {pattern!r}, expected 1")
    return module


def _changed(reason: str) -> ExportError:
    return ExportError(
        f"LiteRT.js is not written as version {VERSION}, which this export bundles: {reason}."
    )


def _archive(package: Package, folder: str | os.PathLike[str] | None) -> bytes:
    """The content of a package's archive, with the pinned SHA-512."""
    if folder is not None:
        path = Path(folder, package.archive)
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} does not exist. To fill the folder: "
                f"npm pack {CORE.name}@{VERSION} {WASM_UTILS.name}@{VERSION}"
            )
        return _checked(path.read_bytes(), package, str(path))
    cached = cache_folder() / package.archive
    if cached.is_file():
        content = cached.read_bytes()
        if _digest(content) == package.sha512:
            return content
        logger.warning("%s is damaged: getting it again", cached)
    content = _fetched(package)
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(cached) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        logger.warning("%s is not cached: %s", package.name, error)
    return content


def cache_folder() -> Path:
    """Where the archives are kept: below `XDG_CACHE_HOME`, by default `~/.cache`."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(root, "keras_attn_nmt", "litertjs")


def _fetched(package: Package) -> bytes:
    reasons = []
    sources: tuple[Callable[[Package], tuple[bytes, str]], ...] = (_packed, _downloaded)
    for source in sources:
        try:
            content, where = source(package)
        except (OSError, http.client.HTTPException, subprocess.SubprocessError) as error:
            reasons.append(str(error))
            continue
        return _checked(content, package, where)
    raise OSError(
        f"Could not get {package.name} {VERSION}, the runtime of the page "
        f"({'; '.join(reasons)}). Where there is a network, run "
        f"'npm pack {CORE.name}@{VERSION} {WASM_UTILS.name}@{VERSION}', and pass the folder with "
        "both archives: --runtime FOLDER."
    )


def _packed(package: Package) -> tuple[bytes, str]:
    """From `npm pack`, with the user's registry, proxy and certificates."""
    if (npm := shutil.which("npm")) is None:
        raise FileNotFoundError("npm is not installed")
    logger.info("getting %s %s from npm", package.name, VERSION)
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [npm, "pack", "--ignore-scripts", f"{package.name}@{VERSION}"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        if done.returncode:
            reason = done.stderr.strip().rpartition("\n")[2]
            raise OSError(f"npm pack failed: {reason}")
        return Path(folder, package.archive).read_bytes(), "npm's archive"


def _downloaded(package: Package) -> tuple[bytes, str]:
    logger.info("downloading %s", package.url)
    with urllib.request.urlopen(package.url, timeout=SECONDS) as response:
        return response.read(), package.url


def _digest(content: bytes) -> str:
    return base64.b64encode(hashlib.sha512(content).digest()).decode()


def _checked(content: bytes, package: Package, where: str) -> bytes:
    if _digest(content) != package.sha512:
        raise ExportError(
            f"{where} is damaged, or is not {package.name} {VERSION}: its SHA-512 is not the "
            "pinned one."
        )
    return content


def _members(archive: bytes, *names: str) -> list[bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        files = [tar.extractfile(name) for name in names]
        return [file.read() for file in files if file is not None]
