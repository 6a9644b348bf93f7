"""Text from right to left in the exported page."""

import json

import pytest
from web_browser import SENTENCES

pytest.importorskip("playwright.sync_api", reason="no Playwright here")

ARABIC_STEPS = """translation => {
  const root = document.body.appendChild(document.createElement("div"));
  const source_tokens = translation.source_tokens.map(() => "\u2581\u0628\u064a\u062a");
  const view = new StepView(root, {sourceLanguage: "ar", targetLanguage: "ar"});
  view.show({...translation, source_tokens});
  view.select(translation.target_tokens.length - 1);
  const lefts = (name) => Array.from(
    root.querySelectorAll(name), (each) => each.getBoundingClientRect().left);
  return {
    sentence: getComputedStyle(root.querySelector(".step-sentence")).direction,
    token: getComputedStyle(root.querySelector("tbody bdi")).direction,
    end: getComputedStyle(root.querySelector(".step-sentence bdi")).direction,
    indents: lefts("tbody bdi").map((left, i) => left - lefts("tbody th")[i]),
  };
}"""


def test_steps_of_a_text_from_right_to_left(open_page):
    """Tokens are beside the left edge, not under the bars at their right."""
    page = open_page("single")
    page.type(SENTENCES[1])
    page.page.get_by_text("Step by step").click()
    found = page.page.evaluate(ARABIC_STEPS, page.json())
    assert [found[each] for each in ("sentence", "token", "end")] == ["rtl", "rtl", "ltr"]
    assert found["indents"] == pytest.approx([0] * len(found["indents"]), abs=0.5)


def test_right_to_left_text(open_page):
    page = open_page("folder", viewport={"width": 360, "height": 800})
    page.type("שלום ein\nein Haus")
    source = page.page.locator(".page-source").first
    assert source.evaluate("each => getComputedStyle(each).direction") == "rtl"
    page.page.get_by_text("Attention", exact=True).first.click()
    line = page.page.locator(".attention-source").first
    line.locator(".attention-unit").first.wait_for()
    boxes = [each.bounding_box()["x"] for each in line.locator(".attention-unit").all()]
    assert line.evaluate("each => getComputedStyle(each).direction") == "rtl"
    assert boxes[0] > boxes[-1]
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 360
    page.screenshot("right_to_left")


def test_text_runs_as_its_language_whatever_its_first_word(open_page, changed_folder):
    folder = changed_folder("page.js", "")
    described = json.loads((folder / "models.json").read_text("utf-8"))
    described["models"][0]["metadata"] |= {"source_language": "ar", "target_language": "he"}
    described["models"][0]["name"] = "דגם"
    described["examples"] = ["Paul يريد 31."]
    (folder / "models.json").write_text(json.dumps(described), "utf-8")
    page = open_page("folder", folder)
    page.type("ein\nHaus")
    page.page.get_by_text("Attention", exact=True).first.click()
    page.page.locator(".attention-unit").first.wait_for()
    parts = ("#text", "#examples button", ".page-source", ".page-translation")
    for part in (*parts, ".attention-source", ".attention-target"):
        line = page.page.locator(part).first
        assert line.evaluate("each => getComputedStyle(each).direction") == "rtl", part
    name, size = page.page.locator("#facts").evaluate(
        """({firstChild: text}) => ["דגם", "0."].map((part) => {
          const range = document.createRange();
          range.setStart(text, text.data.indexOf(part));
          range.setEnd(text, text.data.indexOf(part) + part.length);
          return range.getBoundingClientRect().left;
        })"""
    )
    assert name < size
