"""Self-contained HTML pages in Chromium."""

import contextlib
import json
import re
import struct
import unicodedata

import numpy as np
import pytest
from page_examples import (
    HOSTILE,
    PIECES,
    SENTENCES,
    data_of,
    every_page,
    report,
    sentence_map,
    translation,
    units,
)

from keras_attn_nmt import Translation
from keras_attn_nmt.pages.attention_page import attention_page
from keras_attn_nmt.pages.map_page import nearest_neighbours
from keras_attn_nmt.plots import _token_texts
from keras_attn_nmt.text import alignment
from keras_attn_nmt.text.blank import INVISIBLE
from keras_attn_nmt.text.pieces import spelled


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


def test_the_translation_is_copied_in_a_frame_of_another_page(chromium):
    html = translation(*SENTENCES["number"]).to_html()
    with contextlib.closing(chromium.new_page()) as page:
        frame = '<iframe src="https://pages.test/"></iframe><textarea></textarea>'
        for address, body in (("https://app.test/", frame), ("https://pages.test/", html)):
            answer = {"body": body, "content_type": "text/html; charset=utf-8"}
            page.route(address, lambda route, _, answer=answer: route.fulfill(**answer))
        page.goto("https://app.test/")
        page.frame_locator("iframe").get_by_role("button", name="Copy").click()
        page.frame_locator("iframe").get_by_text("Copied").wait_for()
        page.locator("textarea").focus()
        page.keyboard.press("Control+V")
        assert page.locator("textarea").input_value() == "forty-one years"


def test_high_contrast_shows_the_focus_and_the_choice(opened):
    page = opened(translation(*SENTENCES["number"]).to_html(), forced_colors="active")
    page.keyboard.press("Tab")
    outlined = "all => all.map((each) => getComputedStyle(each).outlineStyle !== 'none')"
    found = units(page, "source").evaluate_all(outlined)
    assert found == [True] + [False] * (len(found) - 1)
    choices = page.locator(".attention-toggle span")
    assert choices.all_inner_texts() == ["Words", "Subwords"]
    assert choices.evaluate_all(outlined) == [True, False]


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


TRANSLATABLE = """texts => {
  const walker = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const {data, parentElement} = walker.currentNode;
    if (parentElement.translate && texts.some((each) => data.includes(each))) found.push(data);
  }
  return found;
}"""


def test_a_browser_translates_none_of_the_texts(opened):
    texts = ["einundvierzig", "forty", "dogs", "sentence 1"]
    for name, html in every_page():
        page = opened(html)
        if name == "report":
            page.locator(".report-sentence summary").first.click()
        elif name == "map":
            page.locator("circle").nth(2).hover()
        else:
            units(page, "target").first.hover()
        assert any(text in page.locator("main").inner_text() for text in texts), name
        assert page.evaluate(TRANSLATABLE, texts) == [], name
        assert page.locator("h1").evaluate("each => each.translate"), name


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


@pytest.mark.parametrize(
    ("pieces", "reference", "underlined"),
    [
        (["▁두", "▁개", "가"], "두\u200b 개가", []),
        (["▁Ein", "▁Mädchen"], f"ein{INVISIBLE} Mädchen", []),
        (["▁می\u200cخواهم"], "میخواهم", ["می\u200cخواهم"]),  # A joiner that spells words.
        (["▁彼は", "本を", "読む。"], "彼は新聞を読む。", ["本"]),
        (["▁ครู", "ซื้อ", "หนังสือ"], "ครูขายหนังสือ", ["ซื้อ"]),
    ],
    ids=["Korean", "German", "Persian", "Japanese", "Thai"],
)
def test_a_report_underlines_words_that_no_reference_has(opened, pieces, reference, underlined):
    found = translation([*pieces, "</s>"], [*pieces, "</s>"])
    page = opened(report([], [found], [unicodedata.normalize("NFD", reference)]))
    assert page.locator("mark").all_text_contents() == underlined
    page.get_by_label("Search").fill(reference)
    assert page.get_by_role("status").first.inner_text() == "1 of 1 sentences have it"


def test_the_caption_of_a_chart_with_one_bar_is_whole(opened):
    page = opened(report(["number"]))
    chart, caption = (
        page.locator(f".report-chart{part}").bounding_box() for part in ("", " text:last-child")
    )
    assert caption["x"] + caption["width"] <= chart["x"] + chart["width"]


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


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_pages_have_no_axe_violation(opened, axe, scheme):
    tokens = [f"▁word{row}" for row in range(30)]
    long = report([], [translation(tokens, tokens)] * 2, ["reference"] * 2)
    for name, html in (*every_page(), ("long report", long)):
        page = opened(html, color_scheme=scheme, viewport={"width": 360, "height": 700})
        if "report" in name:
            for summary in page.locator(".report-sentence summary").all():
                summary.click()
        else:
            page.keyboard.press("Tab")
        page.evaluate(axe)
        found = page.evaluate("axe.run()")["violations"]
        assert [(each["id"], each["nodes"][0]["html"]) for each in found] == [], name
