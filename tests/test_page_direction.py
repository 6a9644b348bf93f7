"""Text from right to left in self-contained HTML pages."""

import numpy as np
import pytest
from page_examples import SENTENCES, report, translation, units

from keras_attn_nmt.pages.attention_page import attention_page
from keras_attn_nmt.pages.map_page import map_page


def test_a_line_may_run_to_the_left(opened):
    page = opened(translation(*SENTENCES["arabic"]).to_html())
    boxes = [units(page, "source").nth(index).bounding_box()["x"] for index in range(4)]
    # Arabic from right to left, "New York" in it from left to right.
    assert boxes[0] > boxes[1] > boxes[3] > boxes[2]
    units(page, "source").nth(0).focus()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.textContent") == "في"


@pytest.mark.parametrize(
    ("first", "language", "direction"),
    [
        ("Paul", "ar", "rtl"),
        ("Paul", "he-IL", "rtl"),
        ("Paul", "ar-Latn", "ltr"),
        ("שלום", "en", "ltr"),
        ("שלום", "", "rtl"),
        ("שלום", "no language", "rtl"),
    ],
)
def test_the_language_gives_the_direction_not_the_first_word(opened, first, language, direction):
    tokens = [f"▁{first}", "▁31", "</s>"]
    found = [translation(tokens, tokens, seed) for seed in range(2)]
    languages = {"source_language": language, "target_language": language}
    nbest = attention_page(found, [f"{first} 31"] * 2, **languages)
    test_set = report([], found, [f"{first} 31"] * 2, **languages)
    vectors = map_page({"PCA": np.eye(2)}, [first, f"{first} 31"], [[1], [0]], language=language)
    for html, selectors in (
        (nbest, (".page-choice span[dir]", ".attention-source", ".attention-target")),
        (test_set, (".report-source", ".report-translation", ".report-reference")),
        (vectors, (".map-sentence", ".map-nearest button", ".map-matches button")),
    ):
        page = opened(html)
        if html is vectors:
            hint = page.locator(".map-sentence")
            assert hint.evaluate("each => getComputedStyle(each).direction") == "ltr"
            page.locator(".map-matches button").first.click()
        for selector in selectors:
            line = page.locator(selector).first
            assert line.evaluate("each => getComputedStyle(each).direction") == direction, selector


def test_a_thread_ends_at_the_word_not_at_its_full_stop(opened):
    tokens = ["▁כלב", "▁New", "▁York", ".", "</s>"]
    page = opened(translation(tokens, tokens).to_html(source_language="he", target_language="he"))
    units(page, "target").last.hover()
    frame = page.locator(".attention-threads").bounding_box()
    paths = page.locator(".attention-threads path").evaluate_all(
        "all => all.map((each) => each.getAttribute('d'))"
    )
    ends = {float(path.split()[-2]) + frame["x"] for path in paths}
    # "New" is between the full stop, at the left, and the word.
    dot, word = sorted(
        units(page, "target").last.evaluate(
            "each => Array.from(each.getClientRects(), ({left, right}) => [left, right])"
        )
    )
    assert dot[1] <= word[0]
    assert len(ends) == 1 and word[0] < ends.pop() < word[1]
