"""Translations and pages for the tests of `keras_attn_nmt.pages`."""

import json
import re

import numpy as np

from keras_attn_nmt import Translation
from keras_attn_nmt.pages.attention_page import attention_page
from keras_attn_nmt.pages.map_page import map_page, nearest_neighbours, principal_components
from keras_attn_nmt.pages.report_page import report_page
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


def report(names, others=(), references=(), **languages):
    found = [translation(*SENTENCES[name], seed) for seed, name in enumerate(names)]
    wanted = [f"reference of {each.text}" for each in found]
    found, wanted = [*found, *others], [*wanted, *references]
    score = {"score": 40.0, "signature": "nrefs:1"}
    return report_page(
        [spelled(each.source_tokens) for each in found],
        found,
        [[each] for each in wanted],
        [{"bleu": 1.0 * row, "chrf": 100.0 - row} for row in range(len(found))],
        scores={
            **dict.fromkeys(("bleu", "bleu_lowercase", "chrf"), score),
            "exact_match": 0.5,
            "sentences": len(found),
            "sentences_per_second": 9.0,
        },
        by_length=[{"words": 5, "sentences": len(found), "bleu": 40.0}],
        settings={"model": HOSTILE},
        **{"source_language": "de", **languages},
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


def units(page, side):
    """The words or subwords of a side, in a browser."""
    return page.locator(f".attention-{side} .attention-unit")
