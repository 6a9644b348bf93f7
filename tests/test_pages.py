"""Self-contained HTML pages: their data and markup."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from page_examples import HOSTILE, SENTENCES, data_of, every_page, translation

from keras_attn_nmt.pages.attention_page import attention_page
from keras_attn_nmt.pages.document import ATTENTION_SCRIPTS, asset, escaped_json
from keras_attn_nmt.pages.map_page import map_page, nearest_neighbours, principal_components
from keras_attn_nmt.pages.report_page import report_page
from keras_attn_nmt.text import alignment


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


def test_a_map_needs_a_group_for_each_sentence():
    points, neighbours = {"PCA": np.eye(2)}, [[1], [0]]
    with pytest.raises(ValueError, match="'groups': 1"):
        map_page(points, ["a", "b"], neighbours, groups=[0])
    with pytest.raises(ValueError, match="needs a projection"):
        map_page({}, ["a", "b"], neighbours)


def test_the_scripts_of_the_view_are_there():
    for name in ATTENTION_SCRIPTS:
        assert asset(name).startswith('"use strict";')
