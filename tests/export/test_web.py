"""In a browser, the exported page agrees with `TFLiteTranslator` in Python."""

import base64
import gzip
import json
import re
import shutil

import numpy as np
import pytest
from web_browser import LIMITS, SENTENCES

from keras_attn_nmt import ModelConfig, Tokenizer, build_model
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.export import TFLiteTranslator, export_web
from keras_attn_nmt.model_directory import ModelFiles, save_model
from keras_attn_nmt.training.datasets.phrasebook import Phrasebook

sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright here")

LONG = "ein Haus am See " * 10
SEVERAL = "Ein Haus am See. " * 3 + "Zwei kleine Häuser am See."


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


@pytest.fixture(params=["folder", "single"])
def shape(request):
    return request.param


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


def test_a_line_of_several_sentences_is_split_on_request(open_page):
    page = open_page("folder")
    sources = page.page.locator(".page-source")
    option = page.page.get_by_role("checkbox", name="Sentence by sentence")
    page.type("ein Haus")
    assert option.count() == 0
    page.type("Ein Haus. Ein See.")
    assert sources.all_text_contents() == ["Ein Haus. Ein See."]
    page.page.focus("#text")
    page.page.keyboard.press("Tab")
    page.page.keyboard.press("Space")
    page.wait()
    assert sources.all_text_contents() == ["Ein Haus.", "Ein See."]
    page.screenshot("by_sentence")
    page.type("ein Haus")
    assert option.count() == 0
    page.type("ein Haus\nEin See. Ein Haus.")
    assert sources.all_text_contents() == ["ein Haus", "Ein See.", "Ein Haus."]
    option.uncheck()
    page.wait()
    assert sources.all_text_contents() == ["ein Haus", "Ein See. Ein Haus."]
    # A line that is too long is split in any case.
    page.type(SEVERAL)
    assert option.count() == 0


def test_an_example_can_be_undone(open_page):
    page = open_page("folder")
    page.type("ein Haus am See")
    page.page.locator("#examples button").first.click()
    page.wait()
    assert page.page.input_value("#text") == SENTENCES[0]
    page.page.focus("#text")
    page.page.keyboard.press("Control+z")
    page.page.wait_for_function("document.getElementById('text').value === 'ein Haus am See'")


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


def test_back_restores_the_text_and_translates_it(open_page, shape):
    page = open_page(shape)
    page.page.locator("#text").press_sequentially("ein See")
    page.wait()
    wanted = page.translations()
    page.page.goto("about:blank")
    page.page.go_back()
    assert page.page.input_value("#text") == "ein See"
    sync_api.expect(page.page.locator(".page-translation")).to_have_text(wanted)


def test_a_browser_translates_none_of_the_texts(open_page):
    page = open_page("single")
    page.type(SENTENCES[1])
    page.page.get_by_text("Step by step").click()
    page.page.locator("#announcement p").wait_for(state="attached")
    texts = (
        *(".page-source", ".page-translation", "#announcement p", "#examples button"),
        *(".attention-unit", ".step-sentence", ".step-token", ".step-table tbody th"),
    )
    for name in texts:
        found = page.page.locator(name)
        assert found.count() and not any(each.evaluate("e => e.translate") for each in found.all())
    assert page.page.locator(".step-title").evaluate("each => each.translate")


def test_an_announcement_has_the_language_of_the_translation(open_page, changed_folder):
    folder = changed_folder("page.js", "")
    described = json.loads((folder / "models.json").read_text("utf-8"))
    described["models"][0]["metadata"]["target_language"] = "fr"
    (folder / "models.json").write_text(json.dumps(described), "utf-8")
    page = open_page("folder", folder)
    page.type("ein Haus")
    announced = page.page.locator("#announcement p")
    sync_api.expect(announced).to_have_text(page.translations())
    assert announced.get_attribute("lang") == "fr"
    page.type(LONG)
    sync_api.expect(announced).to_contain_text("too long")
    assert announced.get_attribute("lang") == "en"


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


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_the_page_has_no_axe_violation(open_page, axe, scheme):
    page = open_page("single", color_scheme=scheme, viewport={"width": 360, "height": 800})
    page.type("Ein Haus. Ein See.\nEin Haus am See.")
    page.page.get_by_label("Sentence by sentence").wait_for()
    for summary in page.page.locator(".page-details summary:visible").all():
        summary.click()
    page.page.get_by_text("Licence of the runtime").click()
    page.page.get_by_text("www.apache.org").wait_for()
    # A result that fades in has less contrast.
    page.page.evaluate(
        "Promise.all(document.getAnimations().map((each) => each.finished)).then(() => null)"
    )
    page.page.evaluate(axe)
    found = page.page.evaluate("axe.run()")["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []


@pytest.mark.slow
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


@pytest.mark.slow
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
