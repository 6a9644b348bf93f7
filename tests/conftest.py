"""Shared fixtures: quiet TensorFlow, seeded random numbers."""

import contextlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
import types

# Before anything imports a backend.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest

# Most of the time on JAX goes into compiling for tiny arrays, half of it by its newer emitters.
XLA_FLAGS = "--xla_backend_optimization_level=0"
with contextlib.suppress(importlib.metadata.PackageNotFoundError):
    # An unknown flag would end the process: only with versions that are known to have it.
    version = tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2]))
    if (0, 6) <= version <= (0, 10):  # 0.11.1 does not have it any more.
        XLA_FLAGS += " --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", XLA_FLAGS)


def pytest_collectstart():
    """Imports Keras as commands do, in half the time, where tests are collected: the process that
    only distributes them collects none."""
    if "keras" not in sys.modules:
        from keras_attn_nmt.cli.keras_import import import_keras

        import_keras()


# The last file that takes long, whose fixtures cost nothing.
SINGLY = "test_trainer"


@pytest.hookimpl(tryfirst=True)  # Before xdist reads the marks.
def pytest_collection_modifyitems(items):
    """Distributes tests file by file, as those of one file share its fixtures; slow ones singly."""
    for item in items:
        single = item.path.stem == SINGLY
        if not single and not any(map(item.get_closest_marker, ("slow", "xdist_group"))):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def check_here():
    """A context in which the check of a SavedModel runs in this process, which has imported
    TensorFlow already."""

    @contextlib.contextmanager
    def check_here():
        from keras_attn_nmt.export import saved_model, saved_model_check

        def run(command, **_):
            problems = saved_model_check.problems(*command[-2:])
            return subprocess.CompletedProcess(command, len(problems), "; ".join(problems), "")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(saved_model, "subprocess", types.SimpleNamespace(run=run))
            yield

    return check_here


@pytest.fixture
def checked_here(check_here):
    with check_here():
        yield


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script of axe-core, which finds what keeps people out of a page."""
    if not shutil.which("npm"):
        pytest.skip("no npm here to get axe-core with")
    folder = tmp_path_factory.mktemp("axe")
    command = ["npm", "pack", "--silent", "--prefer-offline", "axe-core@4.10.3"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"npm cannot get axe-core: {done.stderr.strip()[-200:]}")
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        script = archive.extractfile("package/axe.min.js")
        assert script is not None
        return script.read().decode()


@pytest.fixture(scope="module")
def chromium():
    """The browser of Playwright's tests; Debian's, as Playwright's own is a download."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright here")
    path = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if path is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium, tmp_path):
    """Opens a page from its file; afterwards there was no error and no request but for it."""
    problems, contexts = [], []

    def open_page(html, **options):
        path = tmp_path / "page.html"
        path.write_text(html, encoding="utf-8")
        context = chromium.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: requested(request.url, path.as_uri()))
        page.goto(path.as_uri())
        return page

    def requested(address, own):
        if address != own and not address.startswith("blob:"):
            problems.append(f"request: {address}")

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []
