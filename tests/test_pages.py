"""Pages are made by Python; what they show and how they behave is seen in Chromium."""

import json
import re
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest

from keras_attn_nmt import Translation
from keras_attn_nmt.pages.attention_page import attention_page
from keras_attn_nmt.pages.document import ATTENTION_SCRIPTS, asset, escaped_json
from keras_attn_nmt.pages.map_page import map_page, nearest_neighbours, principal_components
from keras_attn_nmt.pages.report_page import report_page
from keras_attn_nmt.plots import _token_texts
from keras_attn_nmt.text import alignment
from keras_attn_nmt.text.pieces import spelled

HOSTILE = "</script><b>&amp;<!--"
PIECES = [
    ["▁ein", "und", "vierzig", "▁Jahre", "</s>"],
    ["▁", "ein", "▁▁", "▁Haus", "▁", "</s>"],
    ["▁a", "<0xE6>", "<0x97>", "<0xA5>", "<0xE6>", "b▁", "c", "<0x0A>", "<0x41>"],
    [
        "a<0xE6>",
        "<0xc3>",
        "<0xBc>",
        "<0xC3>",
        "</s>",
        "<0xF0>",
        "<0x9F>",
        "<0x98>",
        "<0x80>",
        "<0xFF>",
        "\u202e",
    ],
    [],
]
SENTENCES = {
    "number": (
        ["▁ein", "und", "vierzig", "▁Jahre", "</s>"],
        ["▁for", "ty", "-", "one", "▁years", "</s>"],
    ),
    "arabic": (
        ["▁كلب", "ان", "▁في", "▁New", "▁York", "</s>"],
        ["▁two", "▁dogs", "▁in", "▁New", "▁York", "</s>"],
    ),
    "hostile": ([f"▁{HOSTILE}", "▁b", "</s>"], [f"▁{HOSTILE}", "▁c", "</s>"]),
}


def translation(sources, targets, seed=0):
    generator = np.random.default_rng(seed)
    attention = generator.dirichlet(np.full(len(sources), 0.3), len(targets))
    scores = -generator.random(len(targets))
    text = spelled(targets)
    return Translation(text, float(scores.mean()), sources, targets, scores, attention)


def data_of(page):
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(text)


def report(names):
    found = [translation(*SENTENCES[name], seed) for seed, name in enumerate(names)]
    score = {"score": 40.0, "signature": "nrefs:1"}
    return report_page(
        [spelled(each.source_tokens) for each in found],
        found,
        [[f"reference of {each.text}"] for each in found],
        [{"bleu": 1.0 * row, "chrf": 100.0 - row} for row in range(len(found))],
        scores={
            **dict.fromkeys(("bleu", "bleu_lowercase", "chrf"), score),
            "exact_match": 0.5,
            "sentences": len(found),
            "sentences_per_second": 9.0,
        },
        by_length=[{"words": 5, "sentences": len(found), "bleu": 40.0}],
        settings={"model": HOSTILE},
        source_language="de",
    )


def sentence_map():
    vectors = np.random.default_rng(0).normal(size=(12, 4))
    texts = [HOSTILE, *(f"sentence {row}" for row in range(11))]
    points = principal_components(vectors)
    return map_page({"PCA": points, "t-SNE": -points}, texts, nearest_neighbours(vectors))


def every_page():
    found = [translation(*SENTENCES[name]) for name in SENTENCES]
    yield "number", found[0].to_html(source_language="de", target_language="en")
    yield "arabic", found[1].to_html(source_language="ar", target_language="en")
    yield "list", attention_page(found, [HOSTILE] * len(found), title=HOSTILE)
    yield "report", report(list(SENTENCES))
    yield "map", sentence_map()


def test_the_data_of_a_page_are_the_translation():
    found = translation(*SENTENCES["number"])
    data = data_of(found.to_html("einundvierzig Jahre", source_language="de"))
    (each,) = data["translations"]
    assert (each["source"], each["translation"]) == ("einundvierzig Jahre", "forty-one years")
    assert (each["source_tokens"], each["target_tokens"]) == SENTENCES["number"]
    np.testing.assert_allclose(each["attention"], found.attention, atol=1e-4)
    np.testing.assert_allclose(each["token_scores"], found.token_scores, atol=1e-4)
    assert each["alignment"] == alignment.format_pharaoh(found.alignment())
    assert (data["source_language"], data["target_language"]) == ("de", "")
    # By default the source is spelled from its tokens.
    assert data_of(found.to_html())["translations"][0]["source"] == "einundvierzig Jahre"


@pytest.mark.parametrize("text", [HOSTILE, "\u2028 <!-- ]]> \\ \" '", "日本 🙂"])
def test_text_stays_text(text):
    assert json.loads(escaped_json([text])) == [text]
    assert not set("<>&") & set(escaped_json([text]))


def test_a_page_has_no_more_markup_than_its_own():
    for _, page in every_page():
        assert "<b>" not in page
        assert "http" not in re.sub(r"http://www\.w3\.org/2000/svg|http-equiv", "", page)


def test_a_notebook_gets_a_frame():
    frame = translation(*SENTENCES["hostile"])._repr_html_()
    assert re.fullmatch(r'<iframe srcdoc="[^"]*" [^<>]*></iframe>', frame)


def test_a_page_needs_a_source_for_each_translation():
    with pytest.raises(ValueError, match="got 0 translations and 0 sources"):
        attention_page([], [])
    with pytest.raises(ValueError, match="for each of its 1 sentences"):
        map_page({"PCA": np.zeros((2, 2))}, ["a"], [[]])


def test_pages_need_neither_tensorflow_nor_matplotlib():
    code = (
        "import sys; from keras_attn_nmt.pages import attention_page, map_page, report_page\n"
        "print([m for m in ('keras', 'tensorflow', 'matplotlib', 'sklearn') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


def test_a_report_of_a_test_set_stays_small():
    tokens = ["▁word"] * 19 + ["</s>"]
    found = [translation(tokens, tokens, seed) for seed in range(100)]
    scores = {"bleu": {}, "bleu_lowercase": {}, "chrf": {}}
    rows = [{"bleu": 0.0, "chrf": 0.0}] * 100
    page = report_page(
        ["word"] * 100, found, [["word"]] * 100, rows, scores=scores, by_length=[], settings={}
    )
    assert 10 * len(page) < 10e6


def test_principal_components_are_those_of_the_covariance():
    vectors = np.random.default_rng(0).normal(size=(50, 6)) * (1, 2, 3, 4, 5, 6)
    points = principal_components(vectors)
    expected = np.sort(np.linalg.eigvalsh(np.cov(vectors.T)))[:-3:-1]
    np.testing.assert_allclose(points.var(axis=0, ddof=1), expected)
    np.testing.assert_allclose(np.cov(points.T)[0, 1], 0, atol=1e-9)
    assert principal_components(np.ones((3, 1))).shape == (3, 2)


def test_neighbours_are_the_most_similar():
    vectors = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 5]])
    assert nearest_neighbours(vectors, 1) == [[1], [0], [3], [2]]
    assert nearest_neighbours(vectors[:2]) == [[1], [0]]


# In a browser.


@pytest.fixture(scope="module")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright here")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if not path:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
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


def units(page, side):
    return page.locator(f".attention-{side} .attention-unit")


def lit(page, side):
    """The weight with which each unit of a side is lit."""
    return units(page, side).evaluate_all(
        "all => all.map((each) => Number(each.style.getPropertyValue('--weight')))"
    )


def folded(page):
    """The attention that hovering over each target unit shows, `(targets, sources)`."""
    rows = []
    for target in range(units(page, "target").count()):
        units(page, "target").nth(target).hover()
        rows.append(lit(page, "source"))
    return np.array(rows)


def test_words_or_subwords_light_what_they_looked_at(opened):
    found = translation(*SENTENCES["number"])
    page = opened(found.to_html())
    assert units(page, "target").all_text_contents() == ["forty-one", "years"]
    np.testing.assert_allclose(folded(page), found.word_attention(), atol=1e-3)
    units(page, "source").nth(0).hover()
    np.testing.assert_allclose(lit(page, "target"), found.word_attention()[:, 0], atol=1e-3)
    page.get_by_role("radio", name="Subwords").check()
    assert units(page, "source").count() == 5
    np.testing.assert_allclose(folded(page), found.attention, atol=1e-3)


def test_arrow_keys_move_within_a_line(opened):
    page = opened(translation(*SENTENCES["number"]).to_html())

    def focused():
        return page.evaluate("document.activeElement.textContent")

    said = []
    for key in ("Tab", "ArrowRight", "ArrowRight", "Home", "Tab", "End", "ArrowLeft"):
        page.keyboard.press(key)
        said.append(focused())
    words = ["einundvierzig", "Jahre", "Jahre", "einundvierzig", "forty-one", "years", "forty-one"]
    assert said == words
    name = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert re.fullmatch(
        r"forty-one, probability 0\.\d\d, looked at (einundvierzig|Jahre) [01]\.\d\d(, .*)?", name
    )
    assert any(lit(page, "source"))
    page.keyboard.press("Escape")
    assert not any(lit(page, "source"))


def test_a_line_may_run_to_the_left(opened):
    page = opened(translation(*SENTENCES["arabic"]).to_html())
    boxes = [units(page, "source").nth(index).bounding_box()["x"] for index in range(4)]
    # Arabic from right to left, "New York" in it from left to right.
    assert boxes[0] > boxes[1] > boxes[3] > boxes[2]
    units(page, "source").nth(0).focus()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.textContent") == "في"


def test_downloads_are_the_translation(opened, tmp_path):
    html = translation(*SENTENCES["number"]).to_html()
    page = opened(html)
    with page.expect_download() as saved:
        page.get_by_role("button", name="JSON").click()
    assert json.loads(saved.value.path().read_text()) == data_of(html)["translations"][0]
    with page.expect_download() as saved:
        page.get_by_role("button", name="PNG").click()
    assert saved.value.path().read_bytes().startswith(b"\x89PNG")


def test_a_large_picture_has_a_lower_resolution(opened):
    found = translation(["▁ein", "</s>"], ["▁a"] * 999)
    page = opened(found.to_html())
    with page.expect_download() as saved:
        page.get_by_role("button", name="PNG").click()
    width, height = struct.unpack(">II", saved.value.path().read_bytes()[16:24])
    assert 0 < width < height <= 16_384


def test_a_picture_that_the_browser_cannot_draw(opened):
    page = opened(translation(*SENTENCES["number"]).to_html())
    page.evaluate("() => { HTMLCanvasElement.prototype.toBlob = (done) => done(null); }")
    page.get_by_role("button", name="PNG").click()
    page.get_by_text("The picture is too large for this browser.").wait_for()


def test_pointer_moves_within_a_unit_update_nothing(opened):
    page = opened(translation(*SENTENCES["number"]).to_html())
    page.evaluate(
        "window.selected = [];"
        "addEventListener('attention-select', ({detail}) => selected.push(detail.target))"
    )
    box = page.locator("canvas").bounding_box()
    for step in range(4):
        page.mouse.move(box["x"] + 100 + step, box["y"] + box["height"] / 2)
    selected = page.evaluate("selected")
    assert len(selected) == 1 and selected[0] is not None


def test_the_translation_is_copied(opened):
    permissions = ["clipboard-read", "clipboard-write"]
    page = opened(translation(*SENTENCES["number"]).to_html(), permissions=permissions)
    page.get_by_role("button", name="Copy").focus()
    page.keyboard.press("Enter")
    page.get_by_text("Copied").wait_for()
    assert page.evaluate("document.activeElement.textContent") == "Copy"
    assert page.evaluate("navigator.clipboard.readText()") == "forty-one years"


def test_without_attention_the_page_says_so(opened):
    found = translation(*SENTENCES["number"])
    none = Translation(
        found.text,
        found.score,
        found.source_tokens,
        found.target_tokens,
        found.token_scores,
        np.zeros_like(found.attention),
    )
    page = opened(none.to_html())
    assert page.get_by_text("This model has no attention").count() == 1
    assert page.locator("canvas").count() == 0


def test_an_empty_translation_has_a_page(opened):
    page = opened(Translation("", 0.0, [], [], np.zeros(0), np.zeros((0, 0))).to_html())
    assert page.get_by_text("nothing to show").count() == 1


def test_hostile_text_is_shown_as_it_is(opened):
    for name, html in every_page():
        page = opened(html)
        assert page.locator("b").count() == 0
        if name in ("list", "report", "map"):
            assert HOSTILE in page.locator("main").inner_text()


def test_one_of_several_translations_is_chosen(opened):
    found = [translation(*SENTENCES["number"], seed) for seed in range(3)]
    page = opened(attention_page(found, ["einundvierzig Jahre"] * 3))
    page.get_by_role("radio").nth(0).focus()
    page.keyboard.press("ArrowDown")
    np.testing.assert_allclose(folded(page), found[1].word_attention(), atol=1e-3)


def test_a_report_is_sorted_searched_and_opened(opened):
    page = opened(report(list(SENTENCES) * 50))
    rows = page.locator(".report-sentence")
    assert rows.count() == 100
    scores = page.locator(".report-chrf").all_text_contents()
    assert scores == sorted(scores, key=lambda text: float(text.split()[1]))
    page.get_by_role("button", name="Show more").click()
    assert rows.count() == 150
    page.get_by_label("Sort by").select_option("source length")
    page.get_by_label("Order").select_option("highest first")
    assert "New York" in rows.first.inner_text()
    page.get_by_label("Search").fill("FORTY")
    assert page.get_by_role("status").first.inner_text() == "50 of 150 sentences have it"
    rows.first.locator("summary").click()
    rows.first.locator("canvas").wait_for()


def test_a_report_destroys_the_views_that_it_removes(opened):
    page = opened(report(list(SENTENCES)))
    page.evaluate(
        "() => { window.destroyed = 0; const {destroy} = AttentionView.prototype;"
        "AttentionView.prototype.destroy = function () { destroyed++; destroy.call(this); }; }"
    )
    page.locator(".report-sentence summary").first.click()
    page.locator(".report-sentence canvas").wait_for()
    page.get_by_label("Search").fill("two dogs")
    page.get_by_label("Search").fill("")
    assert page.evaluate("destroyed") == 1


def test_a_map_shows_a_sentence_and_its_neighbours(opened):
    page = opened(sentence_map())
    vectors = np.random.default_rng(0).normal(size=(12, 4))
    neighbours = nearest_neighbours(vectors)
    page.locator("circle").nth(3).hover()
    assert page.locator(".map-sentence").inner_text() == "sentence 2"
    expected = [f"sentence {row - 1}" if row else HOSTILE for row in neighbours[3]]
    assert page.locator(".map-nearest li").all_inner_texts() == expected
    page.get_by_label("Search").fill("sentence 7")
    page.locator(".map-matches button").click()
    assert page.locator(".map-sentence").inner_text() == "sentence 7"


def test_a_map_needs_a_group_for_each_sentence():
    points, neighbours = {"PCA": np.eye(2)}, [[1], [0]]
    with pytest.raises(ValueError, match="'groups': 1"):
        map_page(points, ["a", "b"], neighbours, groups=[0])
    with pytest.raises(ValueError, match="needs a projection"):
        map_page({}, ["a", "b"], neighbours)


def test_a_phone_scrolls_nothing_but_the_map(opened):
    tokens = [f"▁word{row}" for row in range(59)] + ["</s>"]
    for html in (translation(tokens, tokens).to_html(), report(["number"] * 3), sentence_map()):
        page = opened(html, viewport={"width": 360, "height": 700})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_scripts_agree_with_python(opened):
    """Words, folded attention, spelling and labels in JavaScript are those of the package."""
    page = opened(translation(*SENTENCES["number"]).to_html())
    for pieces in PIECES:
        run = "pieces => AttentionView.{}(pieces)"
        assert page.evaluate(run.format("wordOfTokens"), pieces) == alignment.word_of_tokens(pieces)
        assert page.evaluate(run.format("spelled"), pieces) == spelled(pieces)
        assert page.evaluate(run.format("tokenTexts"), pieces) == _token_texts(pieces)
        for others in PIECES:
            weights = np.random.default_rng(0).random((len(pieces), len(others)))
            got = page.evaluate(
                "all => AttentionView.foldAttention(...all)", [weights.tolist(), others, pieces]
            )
            expected = alignment.fold_attention(weights, others, pieces)
            np.testing.assert_allclose(np.reshape(got, expected.shape), expected, atol=1e-6)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_have_no_serious_axe_violation(opened, axe, scheme):
    for name, html in every_page():
        page = opened(html, color_scheme=scheme, viewport={"width": 360, "height": 700})
        if name == "report":
            page.locator(".report-sentence summary").first.click()
        else:
            page.keyboard.press("Tab")
        page.evaluate(axe)
        found = page.evaluate("axe.run()")["violations"]
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        assert [(each["id"], each["nodes"][0]["html"]) for each in serious] == [], name


def test_the_scripts_of_the_view_are_there():
    for name in ATTENTION_SCRIPTS:
        assert asset(name).startswith('"use strict";')
