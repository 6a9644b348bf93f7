"""Translates texts in one runtime, in this process, and writes the answers to files."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from campaign.differences import described

TESTS = Path(__file__).resolve().parents[2] / "tests" / "export"
MAX_SOURCE_LENGTH, MAX_LENGTH = 128, 64
ALPHA = 1.0
WEB = {"web": "none", "web_int8": "int8"}
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
# Of one text, and of loading the page.
WEB_SECONDS = 300
# The worker of the page, for texts that are not lines.
_EXPOSE = """
window.Worker = class extends Worker {
  constructor(...options) { super(...options); window.lastWorker = this; }
};
"""
_ASK = """
([model, texts, milliseconds]) => new Promise((resolve) => {
  const first = 1e9, answers = [];
  let timeout;
  const ask = () => {
    clearTimeout(timeout);
    timeout = setTimeout(() => resolve(answers), milliseconds);
    lastWorker.postMessage(
      {type: "translate", id: first + answers.length, model, text: texts[answers.length]});
  };
  lastWorker.addEventListener("message", ({data}) => {
    if (!(data.id >= first)) return;
    answers.push(data.type === "error" ? {error: data.kind} : data.translation);
    if (answers.length < texts.length) return ask();
    clearTimeout(timeout);
    resolve(answers);
  });
  ask();
})
"""


@dataclasses.dataclass
class Answers:
    """What a runtime has answered.

    Attributes:
        texts: The texts.
        answers: For each text, `text`, `score`, `source_tokens`, `target_tokens`, `token_scores`
            and `attention`, or `error` (`"too long"`, or what went wrong).
    """

    texts: list[str]
    answers: list[dict[str, Any]]

    def write(self, folder: str | Path, kind: str, beam: int) -> None:
        """Writes the answers; attention into one array."""
        attention = [np.ravel(each.get("attention", ())) for each in self.answers]
        np.save(Path(folder, f"{kind}_{beam}.npy"), np.concatenate([*attention, ()]))
        answers = [
            {name: value for name, value in each.items() if name != "attention"}
            for each in self.answers
        ]
        Path(folder, f"{kind}_{beam}.json").write_text(json.dumps(answers), encoding="utf-8")

    @classmethod
    def read(cls, folder: str | Path, kind: str, beam: int) -> Answers:
        """Reads what `write` wrote."""
        answers = json.loads(Path(folder, f"{kind}_{beam}.json").read_text("utf-8"))
        flat, start = np.load(Path(folder, f"{kind}_{beam}.npy")), 0
        for each in answers:
            if "error" in each:
                continue
            shape = len(each["target_tokens"]), len(each["source_tokens"])
            each["attention"] = flat[start : start + shape[0] * shape[1]].reshape(shape)
            start += shape[0] * shape[1]
        if start != len(flat):
            raise ValueError(f"{kind}: the attention has other shapes than the tokens.")
        return cls(_texts(folder, beam), answers)


def _texts(folder: str | Path, beam: int) -> list[str]:
    name = "texts.json" if beam == 1 else "beam.json"
    return json.loads(Path(folder, name).read_text("utf-8"))


def export_all(model: str, folder: str) -> dict[str, dict[str, str]]:
    """Writes all exports; `left_out` has the runtimes that cannot be tried, with the reason."""
    from keras_attn_nmt.export import export_saved_model, export_tflite, export_web

    lengths = {"max_source_length": MAX_SOURCE_LENGTH, "max_target_length": MAX_LENGTH}
    left_out: dict[str, str] = {}
    for beam in (1, 5):
        options = {"beam_size": beam, "length_penalty": ALPHA, "max_length": MAX_LENGTH}
        export_saved_model(model, Path(folder, f"served_{beam}"), **options)
    for name, quantize in (("tflite", "none"), ("tflite_int8", "int8")):
        file = Path(folder, f"{name}.tflite")
        export_tflite(model, file, quantize=quantize, beam_size=5, length_penalty=ALPHA, **lengths)
    try:
        path = Path(folder, "text_flavour.tflite")
        export_tflite(model, path, text=True, length_penalty=ALPHA, **lengths)
    except ValueError as error:
        left_out["text_flavour"] = f"left out: {error}"
    if not any(map(shutil.which, CHROMIUM)):
        return {"left_out": left_out | dict.fromkeys(WEB, "left out: no Chromium here")}
    for name, quantize in WEB.items():
        try:
            export_web(model, Path(folder, name), quantize=quantize, **lengths)
        except OSError as error:
            left_out[name] = f"left out: {error}"
    return {"left_out": left_out}


def answer(kind: str, beam: int, model: str, folder: str) -> int:
    """Translates the texts in a runtime and writes the answers; returns their number."""
    texts = _texts(folder, beam)
    if kind in WEB:
        answers = _web_answers(Path(folder, kind), texts)
    else:
        translate, size = _translator(kind, beam, model, Path(folder))
        answers = []
        for start in range(0, len(texts), size):
            answers += _answers(translate, texts[start : start + size])
    Answers(texts, answers).write(folder, kind, beam)
    return len(answers)


def _translator(
    kind: str, beam: int, model: str, folder: Path
) -> tuple[Callable[[list[str]], list[Any]], int]:
    """A function of texts, and how many it gets at once."""
    from keras_attn_nmt.export import TFLiteTranslator

    if kind in ("tensorflow", "jax"):
        from keras_attn_nmt import Translator

        translator = Translator.load(model)
        options = {"beam_size": beam, "length_penalty": ALPHA, "max_length": MAX_LENGTH}
        return lambda texts: translator(texts, **options), 64
    if kind == "saved_model":
        from keras_attn_nmt.export.saved_model_runner import SavedModelTranslator

        return SavedModelTranslator(folder / f"served_{beam}" / "1"), 64
    if kind == "session":
        return _in_session(folder / f"served_{beam}" / "1"), 64
    if kind == "text_flavour":
        from keras_attn_nmt.export.tflite_check import TextRunner

        runner = TextRunner(folder / "text_flavour.tflite")
        return lambda texts: [_refused(runner(text)) for text in texts], 1
    device = TFLiteTranslator(folder / f"{kind}.tflite")
    return lambda texts: device(texts, beam_size=beam, length_penalty=ALPHA), 1


def _in_session(directory: Path) -> Callable[[list[str]], list[Any]]:
    """The SavedModel as TensorFlow Serving has it, with the client's reading of its answers."""
    from keras_attn_nmt.export.client import TranslationClient
    from keras_attn_nmt.export.saved_model_check import SessionModel

    class Session(TranslationClient):
        def __init__(self) -> None:
            self._transport = self
            self._timeout, self._retries, self._batch_size = float("inf"), 0, 64
            self.model = SessionModel(directory)

        def predict(self, signature: str, inputs: dict, timeout: float) -> dict:
            return self.model.run(signature, inputs)

    return Session()


def _answers(translate: Callable[[list[str]], list[Any]], texts: list[str]) -> list[dict[str, Any]]:
    """Of texts together; singly if one is refused."""
    try:
        return [
            described(each) | {"token_scores": each.token_scores.tolist()}
            for each in translate(texts)
        ]
    except Exception as error:
        if len(texts) == 1:
            too_long = type(error).__name__ == "TextTooLong"
            return [{"error": "too long" if too_long else f"{type(error).__name__}: {error}"}]
    return [each for text in texts for each in _answers(translate, [text])]


def _refused(found: Any) -> Any:
    """The translation; the file that takes text says by its score that a text is too long."""
    from keras_attn_nmt.translation import IMPOSSIBLE, TextTooLong

    if found.score <= IMPOSSIBLE:
        raise TextTooLong(0, len(found.source_tokens), MAX_SOURCE_LENGTH)
    return found


def _web_answers(folder: Path, texts: list[str]) -> list[dict[str, Any]]:
    with _opened(folder) as page:
        (model,) = json.loads((folder / "models.json").read_text("utf-8"))["models"]
        answers = page.evaluate(_ASK, [model["name"], texts, 1000 * WEB_SECONDS])
    missing = len(texts) - len(answers)
    return [*map(_of_web, answers), *[{"error": f"no answer in {WEB_SECONDS} s"}] * missing]


def _of_web(found: dict[str, Any]) -> dict[str, Any]:
    if "error" in found:
        return {"error": found["error"].replace("-", " ")}
    names = ("score", "source_tokens", "target_tokens", "token_scores", "attention")
    return {"text": found["translation"], **{name: found[name] for name in names}}


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[Any]:
    """The exported page, loaded in Chromium."""
    from playwright.sync_api import sync_playwright

    sys.path.insert(0, str(TESTS))
    from web_browser import served

    path = next(filter(None, map(shutil.which, CHROMIUM)))
    with sync_playwright() as playwright, served(folder) as address:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(1000 * WEB_SECONDS)
        page.add_init_script(_EXPOSE)
        page.goto(address)
        page.locator("#progress").wait_for(state="hidden")
        yield page
        browser.close()
