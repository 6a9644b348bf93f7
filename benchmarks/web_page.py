"""Agreement and start of the exported web page, with headless Chromium.

    python benchmarks/web_page.py build/demo/model

types held-out phrases into the page in both shapes, with float32 and int8 weights, and compares the
page's JSON with `TFLiteTranslator` and the same file. Needs the extra `dev` and `chromium`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

from keras_attn_nmt.export import TFLiteTranslator, export_web
from keras_attn_nmt.training.datasets.phrasebook import Phrasebook

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "export"))
from web_browser import WebPage, served

CHROMIUM = shutil.which("chromium")


def compared(page: WebPage, translator: TFLiteTranslator, texts: list[str]) -> dict[str, Any]:
    """Number of equal translations, and the largest differences."""
    found = []
    for text in texts:
        page.type(text)
        found.append(page.json())
    equal, attention, scores = 0, 0.0, 0.0
    for each, wanted in zip(found, translator(texts, beam_size=1), strict=True):
        same = each["target_tokens"] == wanted.target_tokens
        equal += same and each["translation"] == wanted.text
        if same:
            attention = max(attention, np.abs(each["attention"] - wanted.attention).max())
            scores = max(scores, np.abs(each["token_scores"] - wanted.token_scores).max())
    return {"equal": equal, "attention": float(attention), "token_scores": float(scores)}


def seconds_to_first(playwright: Any, address: str, text: str) -> float:
    """Seconds from opening the page in a fresh browser to the first translation."""
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
    page = browser.new_page()
    start = time.perf_counter()
    page.goto(address)
    page.fill("#text", text)
    page.locator(".page-translation:not(:empty)").wait_for()
    seconds = time.perf_counter() - start
    browser.close()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="model directory that translates phrases, as of make demo")
    parser.add_argument("--phrases", type=int, default=200)
    parser.add_argument("--starts", type=int, default=5)
    options = parser.parse_args()
    texts = [source for source, _ in Phrasebook("de", "en").pairs("test", options.phrases)]
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        for weights in ("none", "int8"):
            folder = export_web(options.model, Path(directory, weights), quantize=weights).parent
            single = export_web(
                options.model,
                Path(directory, f"{weights}_single"),
                quantize=weights,
                single_file=True,
            )
            translator = TFLiteTranslator(next((folder / "models").glob("*.tflite")))
            with served(folder) as address:
                for shape, url in (("folder", address), ("single file", single.as_uri())):
                    starts = [
                        seconds_to_first(playwright, url, texts[0]) for _ in range(options.starts)
                    ]
                    browser = playwright.chromium.launch(
                        executable_path=CHROMIUM, args=["--no-sandbox"]
                    )
                    page = WebPage(browser.new_page(), url)
                    result = compared(page, translator, texts) | {"problems": page.problems}
                    result |= {"start": statistics.median(starts), "starts": sorted(starts)}
                    print(json.dumps({"shape": shape, "weights": weights, **result}), flush=True)
                    browser.close()


if __name__ == "__main__":
    main()
