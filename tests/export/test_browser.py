"""LiteRT.js in a real browser gives the same results as the runner in Python."""

import contextlib
import functools
import http.server
import json
import queue
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from questions import OPTIONS, TEXTS

from keras_attn_nmt import Tokenizer
from keras_attn_nmt.export import TFLiteTranslator
from keras_attn_nmt.text.special_ids import EOS

LITERT_JS = ("@litertjs/core@2.5.3", "@litertjs/wasm-utils@2.5.3")
ROOT = Path(__file__).parents[2]
SENTENCES = [text for text in TEXTS if text.strip()]


@pytest.fixture(scope="module")
def browser():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("no Chromium here (Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def site(browser, tmp_path_factory):
    """A folder with the page, its script and LiteRT.js, for a browser."""
    folder = tmp_path_factory.mktemp("site")
    if not shutil.which("npm"):
        pytest.skip("no npm here to get LiteRT.js with")
    quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"]
    done = subprocess.run(
        ["npm", "install", *quiet, "--prefix", str(folder), *LITERT_JS],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"npm cannot get LiteRT.js: {done.stderr.strip()[-200:]}")
    shutil.copy(Path(__file__).with_name("browser.html"), folder / "index.html")
    shutil.copy(ROOT / "docs" / "translate_in_browser.js", folder)
    return folder


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and keeps what is posted."""

    def do_POST(self):
        self.server.posted.put(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def served(folder):
    """`(address, queue)` of a server of the folder."""
    handler = functools.partial(_Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.posted = queue.Queue()
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", server.posted
        server.shutdown()
        thread.join()


@contextlib.contextmanager
def opened(browser, address, profile):
    """A browser that shows the page, without network beyond it."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    options += ["--disable-background-networking", "--disable-component-update"]
    options += ["--disable-dev-shm-usage", f"--user-data-dir={profile}"]
    process = subprocess.Popen(
        [browser, *options, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def files(site, device_file, dot_file):
    """A float32 and an int8 file, of other kinds of attention, served to the page."""
    for file in (device_file, dot_file):
        for each in file.parent.glob(f"{file.stem}.*"):
            shutil.copy(each, site)
    return site / device_file.name, site / dot_file.name


@pytest.fixture(scope="module")
def answers(browser, site, files, tmp_path_factory):
    """What the page has found, by file: `greedy` and `beam` of each sentence."""
    questions = []
    for path in files:
        ids = Tokenizer.load(path.with_suffix(".source.spm")).encode(SENTENCES)
        metadata = TFLiteTranslator(path).metadata
        sources = [[*each, EOS] for each in ids]
        questions.append({"file": path.name, "metadata": metadata, "sources": sources})
    (site / "questions.json").write_text(json.dumps(questions), encoding="utf-8")
    profile = tmp_path_factory.mktemp("profile")
    with served(site) as (address, posted), opened(browser, address, profile) as process:
        try:
            answer = json.loads(posted.get(timeout=300))
        except queue.Empty:
            pytest.fail(f"{browser} has posted nothing; its exit code: {process.poll()}")
    assert "error" not in answer, answer["error"]
    return answer["answers"]


@pytest.mark.parametrize(
    ("number", "tolerance"), [(0, 1e-6), (1, 5e-3)], ids=["float32", "int8 dot"]
)
@pytest.mark.parametrize(("search", "beam_size"), [("greedy", 1), ("beam", OPTIONS["beam_size"])])
def test_browser_equals_python(files, answers, number, tolerance, search, beam_size):
    path = files[number]
    translator = TFLiteTranslator(path)
    target = Tokenizer.load(path.with_suffix(".target.spm"))
    wanted = translator.nbest(SENTENCES, beam_size=beam_size)
    for found, hypotheses in zip(answers[path.name], wanted, strict=True):
        assert len(found[search]) == len(hypotheses)
        for got, expected in zip(found[search], hypotheses, strict=True):
            assert target.pieces(got["tokens"]) == expected.target_tokens
            np.testing.assert_allclose(got["attention"], expected.attention, atol=tolerance)
            scores = expected.token_scores
            np.testing.assert_allclose(got["tokenScores"], scores, atol=10 * tolerance)


def test_a_folder_without_the_runtime_is_named_and_another_one_works(answers):
    assert "LiteRT.js cannot be loaded from /missing/" in answers["missing"]
    assert answers["loaded"] == ["", ""]


def test_a_search_does_not_fail_with_another_one(files, answers):
    good, bad = answers["together"]
    assert bad is None
    (expected,) = answers[files[-1].name][0]["greedy"]
    assert good["tokens"] == expected["tokens"]


def test_penalties_that_the_example_does_not_have_are_refused(answers):
    refused = answers["refused"]["beamSearch penalties"]
    assert "a length penalty only: run translate_beam" in refused


@pytest.mark.parametrize("search", ["greedySearch", "beamSearch"])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty", "positive integers that end with 2, got []"),
        ("negative", "got [-3,2]"),
        ("fraction", "got [3.5,2]"),
        ("no end", "end with 2"),
        # LiteRT.js logs the error and returns old memory.
        ("another vocabulary", "index out of bounds). Are the ids those of the file's"),
    ],
)
def test_ids_that_the_example_cannot_translate_are_refused(answers, search, name, reason):
    assert reason in answers["refused"][f"{search} {name}"]
