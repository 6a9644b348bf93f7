"""In a browser, the exported page agrees with `TFLiteTranslator` in Python."""

import base64
import contextlib
import functools
import gzip
import http.server
import json
import re
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from questions import TEXTS

from keras_attn_nmt import ModelConfig, Tokenizer, build_model
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.export import ExportError, TFLiteTranslator, export_web, web_runtime
from keras_attn_nmt.model_directory import ModelFiles, save_model
from keras_attn_nmt.text.blank import BLANK
from keras_attn_nmt.training.datasets.phrasebook import Phrasebook

sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright here")

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
LIMITS = {"max_source_length": 24, "max_target_length": 12}
SENTENCES = [text for text in TEXTS if text.strip()]
LONG = "ein Haus am See " * 10
SEVERAL = "Ein Haus am See. " * 3 + "Zwei kleine Häuser am See."


@pytest.fixture(scope="module")
def browser():
    path = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if path is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def runtime():
    """A folder with the archives of LiteRT.js."""
    try:
        web_runtime.runtime_files()
    except OSError as error:
        pytest.skip(str(error))
    return web_runtime.cache_folder()


@pytest.fixture(scope="module")
def exported(model_directory, runtime, made_once):
    """A folder with a float32 model, and a single file with an int8 one and the step-through."""

    def export(folder):
        options = {**LIMITS, "examples": SENTENCES[:2]}
        export_web(model_directory, folder / "folder", quantize="none", **options)
        export_web(model_directory, folder / "single", single_file=True, steps=True, **options)

    return made_once("web", export)


@pytest.fixture(scope="module")
def two_models(model_directory, runtime, made_once):
    """The folder of a page with the model, and one without attention to another language."""

    def export(folder):
        attention = shutil.copytree(model_directory, folder / "attention")
        plain = shutil.copytree(model_directory, folder / "plain")
        vocabularies = [Tokenizer.load(plain / f"{side}.spm") for side in ("source", "target")]
        config = ModelConfig(
            *(each.vocabulary_size for each in vocabularies),
            embedding_units=6,
            encoder_units=5,
            decoder_units=7,
            attention="none",
        )
        model = build_model(config)
        generator = np.random.default_rng(1)
        model.set_weights([generator.normal(size=w.shape) * 0.5 for w in model.get_weights()])
        save_model(plain, ModelFiles(model, config, *vocabularies, SearchOptions()))
        for directory, language in ((attention, "en"), (plain, "fr")):
            data = {"source_language": "de", "target_language": language}
            (directory / "training.json").write_text(json.dumps({"recipe": {"data": data}}))
        export_web([attention, plain], folder / "web", quantize="none", **LIMITS)

    return made_once("two_models", export) / "web"


@pytest.fixture(scope="module")
def translators(exported, tmp_path_factory):
    """A `TFLiteTranslator` of the model in each page."""
    folder = tmp_path_factory.mktemp("unpacked")
    page = (exported / "single" / "index.html").read_text("utf-8")
    for name, packed in re.findall(r'data-name="models/([\w.]+)">([\w+/=]+)<', page):
        (folder / name).write_bytes(gzip.decompress(base64.b64decode(packed)))
    return {
        "folder": TFLiteTranslator(exported / "folder" / "models" / "model.tflite"),
        "single": TFLiteTranslator(folder / "model.tflite"),
    }


@contextlib.contextmanager
def served(folder):
    """The address of a server of the folder."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


class WebPage:
    """An exported page in a browser."""

    def __init__(self, page, address):
        self.page = page
        self.problems = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda message: self.problems.append(message.text))
        page.on("request", functools.partial(self._check_origin, address))
        page.goto(address)
        page.locator("#progress").wait_for(state="hidden")

    def _check_origin(self, address, request):
        if not request.url.startswith((address, "blob:", "data:")):
            self.problems.append(f"a request to {request.url}")

    def type(self, text):
        self.page.fill("#text", text)
        self.wait()

    def wait(self):
        self.page.locator("#results[aria-busy=false]").wait_for(state="attached")

    def translations(self):
        return self.page.locator(".page-translation").all_inner_texts()

    def json(self):
        with self.page.expect_download() as download:
            self.page.get_by_role("button", name="Download as JSON").click()
        return json.loads(download.value.path().read_text("utf-8"))

    def screenshot(self, name):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"web_{name}.png", full_page=True)


@pytest.fixture(params=["folder", "single"])
def shape(request):
    return request.param


@pytest.fixture
def open_page(browser, exported):
    """Opens a page by its shape; fails if it logged anything or sent a request elsewhere."""
    with contextlib.ExitStack() as stack:
        opened = []

        def open_page(shape, folder=None, **options):
            page = stack.enter_context(contextlib.closing(browser.new_page(**options)))
            address = (exported / "single" / "index.html").as_uri()
            if shape == "folder":
                address = stack.enter_context(served(folder or exported / "folder"))
            opened.append(WebPage(page, address))
            return opened[-1]

        yield open_page
        assert [problem for page in opened for problem in page.problems] == []


def check_translations(page, translator, sentences, tolerance):
    """Types sentences, and compares what the page saves as JSON with `TFLiteTranslator`."""
    for text, wanted in zip(sentences, translator(sentences, beam_size=1), strict=True):
        page.type(text)
        assert page.page.locator(".page-translation").text_content() == wanted.text
        found = page.json()
        assert found["source"] == text
        assert found["translation"] == wanted.text
        assert found["complete"] == wanted.complete
        assert found["source_tokens"] == wanted.source_tokens
        assert found["target_tokens"] == wanted.target_tokens
        np.testing.assert_allclose(found["attention"], wanted.attention, atol=tolerance)
        np.testing.assert_allclose(found["token_scores"], wanted.token_scores, atol=10 * tolerance)
        np.testing.assert_allclose(found["score"], wanted.score, atol=10 * tolerance)


TOLERANCES = {"folder": 1e-5, "single": 5e-3}


def test_the_page_translates_as_python(open_page, translators, shape):
    page = open_page(shape)
    check_translations(page, translators[shape], SENTENCES, TOLERANCES[shape])
    page.screenshot(shape)


@pytest.mark.slow
@pytest.mark.release
def test_two_hundred_held_out_phrases(open_page, translators, shape):
    translator = translators[shape]
    phrases = [source for source, _ in Phrasebook("de", "en").pairs("test", 400)]
    lengths = map(len, translator.source_tokenizer.encode(phrases))
    limit = LIMITS["max_source_length"]
    fitting = [text for text, length in zip(phrases, lengths, strict=True) if length < limit][:200]
    assert len(fitting) == 200
    check_translations(open_page(shape), translator, fitting, TOLERANCES[shape])


def test_each_line_is_a_sentence(open_page, translators, shape):
    page = open_page(shape, viewport={"width": 360, "height": 800}, color_scheme="dark")
    page.type("\n\n".join(SENTENCES))
    wanted = [found.text for found in translators[shape](SENTENCES)]
    assert page.page.locator(".page-translation").all_text_contents() == wanted
    assert page.page.locator("details.page-details[open]").count() == 0
    page.screenshot(f"{shape}_lines")
    page.type(" \n\u200b")
    assert page.translations() == []


def test_a_line_that_is_too_long_is_split_at_sentence_ends(open_page):
    page = open_page("folder")
    page.type(SEVERAL)
    assert page.page.locator(".page-source").all_text_contents() == [
        *["Ein Haus am See."] * 3,
        "Zwei kleine Häuser am See.",
    ]
    assert page.page.locator(".page-error:visible").count() == 0


def test_a_sentence_that_is_too_long_says_so(open_page):
    page = open_page("folder")
    page.type(LONG)
    error = page.page.locator(".page-error:visible").inner_text()
    assert "too long" in error and "limit 24" in error
    page.screenshot("too_long")
    page.type("ein Haus")
    assert page.page.locator(".page-error:visible").count() == 0
    assert page.page.locator(".attention-unit").count() > 0


def test_controls_are_reachable_by_keyboard(open_page):
    page = open_page("single")
    keyboard, focused = page.page.keyboard, page.page.locator("*:focus")
    keyboard.press("Tab")
    assert focused.get_attribute("id") == "text"
    keyboard.press("Tab")
    keyboard.press("Enter")
    page.wait()
    assert page.page.input_value("#text") == SENTENCES[0]
    reached = set()
    for _ in range(60):
        keyboard.press("Tab")
        if not focused.count():  # The end of the page.
            break
        name = focused.evaluate("each => each.className || each.textContent || each.type")
        if name == "attention-unit":
            keyboard.press("ArrowRight")
        if name == "Step by step":
            keyboard.press("Enter")
            page.page.locator(".step-view").wait_for()
        reached.add(name)
    assert {"attention-unit", "Attention", "Copy", "JSON", "Step by step", "range"} <= reached
    announced = page.page.locator("#announcement:not(:empty)")
    assert announced.text_content() == page.page.locator(".page-translation").text_content()


def test_steps_show_the_computation_of_each_token(open_page):
    page = open_page("single")
    page.type(SENTENCES[1])
    page.page.get_by_text("Step by step").click()
    page.page.locator(".step-view input").press("End")
    found = page.json()
    steps, attention = found["steps"], np.array(found["attention"])
    count, length = len(found["target_tokens"]), len(found["source_tokens"])
    assert page.page.locator(".step-label").inner_text() == f"Step {count} of {count}"
    assert page.page.locator(".step-table tbody tr").count() == length
    assert np.shape(found["annotations"])[0] == length
    energies = np.array([step["energies"] for step in steps])
    softmax = np.exp(energies - energies.max(axis=1, keepdims=True))
    softmax /= softmax.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(softmax, attention, atol=5e-3)
    for step, token, score in zip(
        steps, found["target_tokens"], found["token_scores"], strict=True
    ):
        assert step["candidates"][0] == {"token": token, "score": score}
        assert len(step["candidates"]) == 5
    page.screenshot("steps")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_has_no_serious_axe_violation(open_page, axe, scheme):
    page = open_page("single", color_scheme=scheme, viewport={"width": 360, "height": 800})
    page.type(SENTENCES[0])
    page.page.get_by_text("Step by step").click()
    page.page.get_by_text("Licence of the runtime").click()
    page.page.get_by_text("www.apache.org").wait_for()
    page.page.evaluate(axe)
    found = page.page.evaluate("axe.run()")["violations"]
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    assert [(each["id"], each["nodes"][0]["html"]) for each in serious] == []


@pytest.fixture
def changed_folder(exported, tmp_path):
    """A copy of the folder with code appended to a script."""

    def change(name, code):
        folder = shutil.copytree(exported / "folder", tmp_path / "web")
        with open(folder / name, "a") as script:
            script.write(code)
        return folder

    return change


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
    page.page.get_by_text("cannot be loaded").wait_for()
    page.page.unroute("**/NOTICE")
    summary.click()
    summary.click()
    page.page.get_by_text("www.apache.org").wait_for()
    assert "cannot be loaded" not in text.inner_text()
    assert all("ERR_FAILED" in problem for problem in page.problems)
    page.problems.clear()


def test_six_hundred_lines(open_page, changed_folder):
    # A search that takes no time.
    code = (
        "Decoding.greedily = async (_, {length}) => ({\n"
        "  tokens: [5, 2], tokenScores: [-1, -1],\n"
        "  attention: Array(2).fill(Array(length).fill(1 / length)),\n"
        "});\n"
    )
    page = open_page("folder", changed_folder("decoding.js", code))
    lines = [f"ein Haus {number}" for number in range(598)] + ["ein See"] * 2
    page.type("\n".join(lines))
    translations = page.page.locator(".page-translation")
    assert translations.count() == 600
    assert page.page.locator(".page-waiting").count() == 0
    page.page.locator("#announcement:not(:empty)").wait_for(state="attached")
    page.type("\n".join([*lines, "ein Haus am See"]))
    assert translations.count() == 601


def test_many_translations_are_only_counted_and_old_ones_not_repeated(open_page):
    page = open_page("folder")
    announcement = page.page.locator("#announcement")
    lines = [f"ein Haus {number}" for number in range(5)]
    page.type("\n".join(lines))
    sync_api.expect(announcement).to_have_text("5 translations")
    page.type("\n".join([*lines, SENTENCES[1]]))
    sync_api.expect(announcement).to_have_text(page.translations()[-1])


def test_a_line_that_grows_past_the_limit_stays_split(open_page):
    page = open_page("folder")
    page.type(SEVERAL)
    page.page.evaluate(
        "window.removed = 0;"
        "new MutationObserver((all) => all.forEach((each) => removed += each.removedNodes.length))"
        ".observe(document.getElementById('results'), {childList: true})"
    )
    page.page.focus("#text")
    page.page.keyboard.press("End")
    for character in " Ein See.":
        page.page.keyboard.type(character)
        page.page.wait_for_timeout(200)
        page.wait()
    assert page.page.locator(".page-source").all_text_contents()[-1] == "Ein See."
    assert page.page.evaluate("removed") == 0
    page.type("Ein Haus. Ein See.")
    page.type("ein Haus")
    assert page.page.locator(".page-sentence").count() == 1
    page.type("Ein Haus. Ein See.")
    assert page.page.locator(".page-sentence").count() == 1


def test_two_models_side_by_side(open_page, two_models):
    page = open_page("folder", two_models)
    sentence = SENTENCES[1]
    page.type(sentence)
    assert page.page.locator("h1").inner_text() == "German → English, French"
    titles = page.page.locator(".page-model").all_inner_texts()
    assert titles == ["attention → English", "plain → French"]
    wanted = [
        TFLiteTranslator(two_models / "models" / f"{name}.tflite")([sentence], beam_size=1)[0].text
        for name in ("attention", "plain")
    ]
    assert page.page.locator(".page-translation").all_text_contents() == wanted
    assert wanted[0] and wanted[1]
    attending, plain = page.page.locator(".page-model-result").all()
    assert attending.locator("canvas").count() == 1
    assert plain.get_by_text("This model has no attention").count() == 1
    page.screenshot("two_models")


def test_right_to_left_text(open_page):
    page = open_page("folder", viewport={"width": 360, "height": 800})
    page.type("שלום ein\nein Haus")
    source = page.page.locator(".page-source").first
    assert source.evaluate("each => getComputedStyle(each).direction") == "rtl"
    page.page.get_by_text("Attention", exact=True).first.click()
    line = page.page.locator(".attention-source").first
    boxes = [each.bounding_box()["x"] for each in line.locator(".attention-unit").all()]
    assert line.evaluate("each => getComputedStyle(each).direction") == "rtl"
    assert boxes[0] > boxes[-1]
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 360
    page.screenshot("right_to_left")


@pytest.fixture(scope="module")
def decoding(browser):
    """An empty page with `decoding.js` and `sentences.js`."""
    page = browser.new_page()
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


def test_blank_characters_are_those_of_python(decoding):
    characters = [chr(code) for code in range(0x3100)] + ["\ufeff", "\ufffe"]
    found = decoding.evaluate("texts => texts.map(Sentences.isBlank)", characters)
    assert {text for text, blank in zip(characters, found, strict=True) if blank} == set(BLANK)
    assert decoding.evaluate("Sentences.isBlank('')")


@pytest.mark.parametrize("number", [0, 1], ids=["core", "wasm-utils"])
def test_a_runtime_with_one_other_bit_is_refused(runtime, tmp_path, number):
    folder = shutil.copytree(runtime, tmp_path / "runtime")
    path = folder / (web_runtime.CORE, web_runtime.WASM_UTILS)[number].archive
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ExportError, match=r"damaged, or is not @litertjs.*SHA-512"):
        web_runtime.runtime_files(folder)
