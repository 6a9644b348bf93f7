"""Failures that the page explains, results that it refuses, and its text functions."""

import contextlib
import http.server
import shutil

import numpy as np
import pytest
from web_browser import ROOT, served

from keras_attn_nmt.export import ExportError, web_runtime
from keras_attn_nmt.text.blank import BLANK

sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright here")


def test_a_failed_run_is_reported_and_tried_again(open_page, changed_folder):
    folder = changed_folder(
        "decoding.js",
        (
            "const greedily = Decoding.greedily;\n"
            "Decoding.greedily = async (model, source) => {\n"
            "  const found = await greedily(model, source);\n"
            "  if (source.length < 4 || globalThis.failed > 1) return found;\n"
            "  globalThis.failed = (globalThis.failed ?? 0) + 1;\n"
            "  return {...found, tokens: [3, 1234567]};\n"
            "};\n"
        ),
    )
    page = open_page("folder", folder)
    page.type("ein Haus am See")
    error = page.page.locator(".page-error:visible").inner_text()
    assert "The runtime failed on this sentence" in error and "a token out of range" in error
    assert page.page.locator(".page-translation:visible").count() == 0
    page.type("ein")
    assert page.page.locator(".page-error:visible").count() == 0
    for visible in (1, 0):
        page.type("ein Haus am See")
        assert page.page.locator(".page-error:visible").count() == visible
        page.type("ein")


def test_a_worker_that_dies_is_reported(open_page, changed_folder):
    code = (
        "self.addEventListener('message', ({data}) => {\n"
        "  if (data.text === 'ein') setTimeout(() => { throw new Error('out of memory'); });\n"
        "});\n"
    )
    page = open_page("folder", changed_folder("worker.js", code))
    page.type("ein Haus")
    page.page.fill("#text", "ein")
    page.page.get_by_text("cannot translate here").wait_for()
    assert "out of memory" in page.page.locator("#status").inner_text()
    assert page.page.locator("#text").is_disabled()
    assert page.page.locator("#examples button").first.is_disabled()
    assert page.page.locator("#results").get_attribute("aria-busy") == "false"


def test_the_worker_has_the_policy_of_the_page(open_page, changed_folder):
    code = (
        "let message = 'evaluated';\n"
        "try { new Function(''); } catch (error) { message = error.name; }\n"
        "setTimeout(() => { throw new Error(message); }, 1000);\n"
    )
    page = open_page("folder", changed_folder("worker.js", code))
    page.page.get_by_text("EvalError").wait_for()
    page.problems.clear()  # The violation is logged.


def test_half_of_a_character_is_explained(open_page):
    page = open_page("folder")
    page.page.evaluate(
        "document.getElementById('text').value = 'ein \\ud83d Haus';"
        "document.getElementById('text').dispatchEvent(new Event('input'))"
    )
    page.wait()
    assert "half of a character" in page.page.locator(".page-error:visible").inner_text()


def test_unknown_characters_are_explained(open_page, changed_folder):
    # The vocabulary has byte fallback, so nothing is unknown without this.
    code = (
        "const encode = SentencePiece.prototype.encode;\n"
        "SentencePiece.prototype.encode = function (text) {\n"
        "  const known = encode.call(this, text.replace('?', ''));\n"
        "  return text.includes('?') ? [...known, 3] : known;\n"
        "};\n"
    )
    page = open_page("folder", changed_folder("sentencepiece.js", code))
    note = page.page.get_by_text("not in the model's vocabulary")
    page.type("ein Haus?")
    assert note.is_visible()
    page.type("ein Haus")
    assert not note.is_visible()


def test_a_licence_that_was_not_loaded_is_requested_again(open_page):
    page = open_page("folder")
    summary, text = page.page.get_by_text("Licence of the runtime"), page.page.locator("pre")
    page.page.route("**/NOTICE", lambda route: route.abort())
    summary.click()
    advice = "NOTICE cannot be loaded (Failed to fetch). Open the licence again to retry."
    page.page.get_by_text(advice, exact=True).wait_for()
    page.page.unroute("**/NOTICE")
    summary.click()
    summary.click()
    page.page.get_by_text("www.apache.org").wait_for()
    assert "cannot be loaded" not in text.inner_text()
    assert all("ERR_FAILED" in problem for problem in page.problems)
    page.problems.clear()


def check_translates(page):
    """Types into a page or frame that has started, and waits for a translation."""
    page.locator("#text").fill("ein Haus am See")
    page.locator(".page-translation:not(:empty)").wait_for()


def test_a_file_whose_download_breaks_is_named(chromium, exported, monkeypatch):
    def copy(handler, source, output):
        content = source.read()
        output.write(content[:-9] if source.name.endswith(".wasm") else content)

    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "copyfile", copy)
    with served(exported / "folder") as address, contextlib.closing(chromium.new_page()) as page:
        page.goto(address)
        page.locator("#status.page-error").wait_for()
        status = page.locator("#status").inner_text()
        assert "litert.wasm cannot be loaded (network error)" in status


@pytest.mark.parametrize("name", ["worker.js", "models/model.source.spm", "models.json"])
def test_a_file_of_another_export_is_refused(chromium, exported, name):
    # As a cache that ignores the query of a URL gives it.
    other = (exported / "folder" / name).read_bytes() + b"\n"
    with served(exported / "folder") as address, contextlib.closing(chromium.new_page()) as page:
        page.route(f"**/{name}*", lambda route: route.fulfill(body=other))
        page.goto(address)
        page.locator("#status.page-error").wait_for()
        status = page.locator("#status").inner_text()
        assert f"{name} is damaged, or from another export" in status


def test_a_file_that_was_cached_during_an_upload_is_requested_again(
    chromium, exported, monkeypatch
):
    handler = http.server.SimpleHTTPRequestHandler
    sent, end = [], handler.end_headers

    def copy(handler, source, output):
        content = source.read()
        if source.name.endswith(".source.spm"):
            sent.append(source.name)
            # At first, that of a former export.
            content = content if len(sent) > 1 else content[:-1] + b"\n"
        output.write(content)

    def cached_for_an_hour(handler):
        handler.send_header("Cache-Control", "max-age=3600")
        end(handler)

    monkeypatch.setattr(handler, "copyfile", copy)
    monkeypatch.setattr(handler, "end_headers", cached_for_an_hour)
    with served(exported / "folder") as address, contextlib.closing(chromium.new_page()) as page:
        page.goto(address)
        check_translates(page)
        page.reload()
        check_translates(page)
    assert len(sent) == 2


@pytest.mark.parametrize("shape", ["folder", "single"])
def test_a_sandbox_is_enough_for_a_single_file_and_explained_for_a_folder(
    chromium, exported, shape
):
    with served(exported / shape) as address, contextlib.closing(chromium.new_page()) as page:
        page.set_content(f'<iframe sandbox="allow-scripts" src="{address}"></iframe>')
        frame = page.frame_locator("iframe")
        if shape == "single":
            check_translates(frame)
            return
        frame.locator("#status.page-error").wait_for()
        status = frame.locator("#status").inner_text()
        assert "models.json cannot be loaded (Failed to fetch). Add allow-same-origin" in status


def test_a_file_that_cannot_be_requested_is_named(chromium, exported):
    with served(exported / "folder") as address, contextlib.closing(chromium.new_page()) as page:
        page.route("**/*.wasm*", lambda route: route.abort())
        page.goto(address)
        page.locator("#status.page-error").wait_for()
        status = page.locator("#status").inner_text()
        assert "litert.wasm" in status and "cannot be loaded" in status
        assert "sandbox" not in status


BLOCKING = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src blob:; img-src data:"
)
INLINE = (
    "default-src 'self'; script-src 'unsafe-inline' 'wasm-unsafe-eval'; "
    "style-src 'unsafe-inline'; worker-src blob:; img-src data:"
)
NO_WORKER = INLINE.replace("worker-src blob:; ", "")


@pytest.mark.parametrize(
    ("policy", "explained"),
    [(BLOCKING, "scripts are blocked"), (NO_WORKER, "worker-src blob:"), (INLINE, "")],
    ids=["blocking", "no worker", "inline"],
)
def test_a_single_file_under_the_policy_of_a_server(chromium, exported, policy, explained):
    headers = {"Content-Security-Policy": policy, "Content-Type": "text/html; charset=utf-8"}
    path = exported / "single" / "index.html"
    with contextlib.closing(chromium.new_page()) as page:
        page.route("**/*", lambda route: route.fulfill(path=path, headers=headers))
        page.goto("http://localhost/")
        if explained:
            page.locator("#status", has_text=explained).wait_for()
        else:
            check_translates(page)
        assert page.locator("#progress").is_hidden()
        assert page.locator("#status:visible").count() == bool(explained)


@pytest.fixture(scope="module")
def decoding(chromium):
    """An empty page with `decoding.js` and `sentences.js`."""
    page = chromium.new_page()
    for name in ("decoding.js", "sentences.js"):
        page.add_script_tag(path=ROOT / "export" / "web_page" / name)
    yield page
    page.close()


GOOD = {"tokens": [3, 4, 2], "tokenScores": [-1, 0, -0.5], "attention": [[0.5, 0.5]] * 3}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tokens": []}, "no token"),
        ({"tokens": [3, 0, 2]}, "out of range"),
        ({"tokens": [3, 9, 2]}, "out of range"),
        ({"tokens": [2, 3, 2]}, "after the end"),
        ({"tokenScores": [-1, 1, 0]}, "wrong score"),
        ({"tokenScores": [-1, None, 0]}, "wrong score"),
        ({"attention": [[0.5, 0.5], [0.5, 0.6], [1, 0]]}, "attention"),
        ({"attention": [[0, 0], [0.5, 0.5], [1, 0]]}, "attention"),
        ({"attention": [[2, -1]] * 3}, "attention"),
        ({"attention": [[None, 1]] * 3}, "attention"),
        ({"attention": [[0, 0]] * 3}, "attention that does not sum to 1"),
    ],
)
def test_an_invalid_result_is_refused(decoding, change, reason):
    # JSON has no NaN: null represents it.
    check = """answer => Decoding.check(
      JSON.parse(JSON.stringify(answer), (_, each) => each === null ? NaN : each),
      {sourceLength: 2, vocabularySize: 9, attends: true})"""
    decoding.evaluate(check, GOOD)
    with pytest.raises(sync_api.Error, match=f"invalid: .*{reason}"):
        decoding.evaluate(check, {**GOOD, **change})
    without = check.replace("attends: true", "attends: false")
    decoding.evaluate(without, {**GOOD, "attention": [[0, 0]] * 3})
    with pytest.raises(sync_api.Error, match="attention that does not sum to 0"):
        decoding.evaluate(without, GOOD)


def test_the_best_candidates_are_those_of_sorting(decoding):
    scores = np.random.default_rng(0).integers(0, 30, 100) / 10
    found = decoding.evaluate("scores => Decoding.best(scores)", scores.tolist())
    order = np.argsort(-scores[2:], kind="stable")[:5] + 2
    assert [each["id"] for each in found] == order.tolist()
    assert [each["score"] for each in found] == scores[order].tolist()


def test_without_a_segmenter_numbers_stay_whole(decoding):
    split = """text => {
      const {Segmenter} = Intl;
      delete Intl.Segmenter;
      const found = Sentences.ofLine(text);
      Intl.Segmenter = Segmenter;
      return found;
    }"""
    assert decoding.evaluate(split, "Es kostet 3.50 Euro. Gut! ") == [
        "Es kostet 3.50 Euro.",
        "Gut!",
    ]
    assert decoding.evaluate(split, "你好。再见。") == ["你好。", "再见。"]


def test_only_a_line_that_is_edited_stays_split(decoding):
    read = """texts => {
      const lines = new TypedLines();
      lines.read(texts[0], "en");
      lines.split(lines.whole);
      return texts.map((text) => (lines.read(text, "en"), lines.sentences.length));
    }"""
    long = "The first sentence of all. The second one."
    assert decoding.evaluate(read, [long, f"{long} And", f"{long} And one."]) == [2, 3, 3]
    assert decoding.evaluate(read, [long, "Hello. How are you?"]) == [2, 1]
    assert decoding.evaluate(read, [long, f"Hello. Yes.\n{long}"]) == [2, 3]


def test_lines_of_several_sentences_are_split_on_request(decoding):
    read = """([text, long]) => {
      const lines = new TypedLines();
      lines.bySentence = true;
      lines.read(text, "en");
      const split = lines.sentences;
      lines.bySentence = false;
      lines.split(long);
      return [split, lines.sentences, lines.mayBeSplit];
    }"""
    text, parts = "Hello. Yes.\nWell.", ["Hello.", "Yes.", "Well."]
    assert decoding.evaluate(read, [text, []]) == [parts, text.split("\n"), True]
    assert decoding.evaluate(read, [text, ["Hello. Yes."]]) == [parts, parts, False]
    assert decoding.evaluate(read, ["Hello.", []]) == [["Hello."], ["Hello."], False]


def test_blank_characters_are_those_of_python(decoding):
    characters = [chr(code) for code in range(0x3100)] + ["\ufeff", "\ufffe"]
    found = decoding.evaluate("texts => texts.map(Sentences.isBlank)", characters)
    assert {text for text, blank in zip(characters, found, strict=True) if blank} == set(BLANK)
    assert decoding.evaluate("Sentences.isBlank('')")


@pytest.mark.parametrize(
    "number", [0, pytest.param(1, marks=pytest.mark.slow)], ids=["core", "wasm-utils"]
)
def test_a_runtime_with_one_other_bit_is_refused(runtime, tmp_path, number):
    folder = shutil.copytree(runtime, tmp_path / "runtime")
    path = folder / (web_runtime.CORE, web_runtime.WASM_UTILS)[number].archive
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ExportError, match=r"damaged, or is not @litertjs.*SHA-512"):
        web_runtime.runtime_files(folder)
