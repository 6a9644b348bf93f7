"""The commands whose writes are made to fail, and a worker that runs them."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from campaign.outputs import fingerprint

HERE = Path(__file__).parent
# The command that needs Apache Beam.
BULK = "bulk-translate"
# Seconds after which a command that nothing disturbs has failed.
LONGEST = 900
# No schedule that needs the number of epochs: a run of fewer epochs begins like one of more.
RECIPE = """
[data]
corpus = "tsv"
folder = "{folder}"
train = "train.tsv"
validation = "validation.tsv"
source_language = "de"
target_language = "en"
[vocabulary]
source_size = 280
target_size = 280
[model]
embedding_units = 8
encoder_units = 8
decoder_units = 12
attention_units = 8
embedding_dropout = 0.2
[training]
epochs = 3
tokens_per_batch = 512
schedule = "constant"
learning_rate = 0.01
monitor = "val_loss"
patience = 0
bleu_sentences = 0
"""
WORDS = {"eins": "one", "zwei": "two", "drei": "three", "vier": "four", "und": "and"}


class Case(NamedTuple):
    """A command that writes.

    Attributes:
        name: Name of the case.
        arguments: Of the command; `{out}`, `{model}`, `{data}` and `{other}` are filled in.
        before: Arguments of the command that made what is in the folder before; none: nothing.
        prepare: Puts input into the output folder first.
        whole: The files are all old or all new, never some of each.
        checkpoints: Finished files of earlier epochs are right, too.
        loaded: The model that the command writes in the place of another one.
    """

    name: str
    arguments: tuple[str, ...]
    before: tuple[str, ...] = ()
    prepare: Callable[[Places], None] | None = None
    whole: bool = False
    checkpoints: bool = False
    loaded: str = ""

    def retry(self, out: Path) -> tuple[str, ...]:
        """The command to type again."""
        saved = (out / "model" / "checkpoints" / "state.json").is_file()
        return (*self.arguments, "--resume") if self.checkpoints and saved else self.arguments


class Places(NamedTuple):
    """Folders of a campaign: the model, generated data, the output, and another model."""

    model: Path
    data: Path
    out: Path
    other: Path

    def filled(self, arguments: Sequence[str]) -> list[str]:
        return [each.format(**{k: str(v) for k, v in self._asdict().items()}) for each in arguments]


def write_data(folder: Path, seed: int) -> None:
    """A small corpus, texts and a recipe."""
    folder.mkdir(parents=True, exist_ok=True)
    random_words = random.Random(seed)
    for name, count in (("train", 300), ("validation", 40)):
        rows = []
        for _ in range(count):
            words = random_words.choices(list(WORDS), k=random_words.randint(1, 6))
            rows.append(" ".join(words) + "\t" + " ".join(WORDS[word] for word in words) + "\n")
        (folder / f"{name}.tsv").write_text("".join(rows), encoding="utf-8")
    (folder / "tiny.toml").write_text(RECIPE.format(folder=folder), encoding="utf-8")
    german = ["einundvierzig", "zweiundfünfzig", "Mittwoch, 3. Oktober 1990", "siebzehn"] * 5
    english = ["forty-one", "fifty-two", "Wednesday, October 3, 1990", "seventeen"] * 5
    (folder / "texts.de").write_text("\n".join(german) + "\n", encoding="utf-8")
    (folder / "texts.en").write_text("\n".join(english) + "\n", encoding="utf-8")


def _copy_model(places: Places) -> None:
    ignored = shutil.ignore_patterns("checkpoints", "tensorboard")
    shutil.copytree(places.model, places.out / "model", ignore=ignored)


def _copy_served(places: Places) -> None:
    shutil.copytree(places.model.parent / "served", places.out / "served")


_TEXTS = ("--source", "{data}/texts.de")
_EVALUATE = ("evaluate", "{out}/model", *_TEXTS, "--reference", "{data}/texts.en", "--output")
_EVALUATE += ("{out}/found.txt", "--html", "{out}/page.html", "--save-search", "--beam-size")
_SHORTLIST = ("shortlist", "{out}/model", *_TEXTS, "--target", "{data}/texts.en", "--candidates")
_TFLITE = ("--output", "{out}/small.tflite", "--signatures", "translate")
_TFLITE += ("--max-source-length", "24", "--quantize", "int8")
_WEB = ("export", "web", "{model}", "--output", "{out}/web", "--quantize", "int8")
_SERVED = ("export", "saved-model", "{model}", "--output", "{out}/served", "--beam-size", "1")
_SERVING = ("export", "serving", "{out}/served", "--overwrite", "--cores")
_HEAT = ("attention", "{model}", "--output", "{out}/heat.png")
CASES = (
    Case("train", ("train", "{data}/tiny.toml", "--output", "{out}/model", "--quiet"), (), None,
         checkpoints=True),
    Case("evaluate", (*_EVALUATE, "2"), (*_EVALUATE, "1"), _copy_model),
    Case("attention picture", (*_HEAT, "einundvierzig"), (*_HEAT, "siebzehn")),
    Case("shortlist", (*_SHORTLIST, "20"), (*_SHORTLIST, "10"), _copy_model),
    Case("back-translate", ("back-translate", "{model}", "--target", "{data}/texts.de",
                            "--output", "{out}/corpus", "--source-language", "en",
                            "--target-language", "de"), whole=True),
    Case("export saved-model", _SERVED, (), _copy_served, whole=True),
    Case("export serving", (*_SERVING, "3"), (*_SERVING, "2"), _copy_served),
    Case("export tflite", ("export", "tflite", "{model}", *_TFLITE),
         ("export", "tflite", "{other}", *_TFLITE), loaded="{out}/small.tflite"),
    Case("model directory", ("save-model", "{model}", "{out}/model"),
         ("save-model", "{other}", "{out}/model"), loaded="{out}/model"),
    Case("export web", _WEB, (*_WEB, "--single-file"), whole=True),
    Case(BULK, ("bulk-translate", "{model}/../demo.tflite", "--input",
                            "{data}/texts.de", "--output", "{out}/bulk", "--beam-size", "1")),
)  # fmt: skip


class Worker:
    """A process of `fault_worker.py`.

    Args:
        work: Folder for the library, logs and messages.
        backend: Keras backend.
        python: The interpreter.
    """

    def __init__(self, work: Path, backend: str = "tensorflow", python: str = sys.executable):
        self.work = work
        work.mkdir(parents=True, exist_ok=True)
        library = work / "write_faults.so"
        build = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(HERE / "write_faults.c")]
        subprocess.run([*build, "-ldl"], check=True)
        self.log, self.count, self.output = work / "calls.tsv", work / "count", work / "output"
        environment = {"LD_PRELOAD": str(library), "KERAS_BACKEND": backend}
        environment |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
        self.process = subprocess.Popen(
            [python, str(HERE / "fault_worker.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        self._answer()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        answer = self.process.stdout.readline().strip()
        if not answer:
            raise RuntimeError(f"the worker ended with code {self.process.wait()}")
        return answer

    def run(
        self,
        arguments: Sequence[str],
        root: Path,
        faults: dict[str, str] | None = None,
        plant: str = "",
        kill_after: float = LONGEST,
        stdin: str = os.devnull,
    ) -> tuple[int, str]:
        """Exit code and messages of a command; `faults` as in `write_faults.c`.

        Its standard output is in `output`. The exit code is `fault_worker.STOPPED` if it was killed
        after so many seconds.
        """
        messages = self.work / "messages.txt"
        for path in (messages, self.log, self.output):
            path.write_bytes(b"")
        self.count.write_bytes(bytes(8))
        settings = {
            "FAULT_ROOT": str(root),
            "FAULT_LOG": str(self.log),
            "FAULT_COUNT": str(self.count),
            **(faults or {}),
        }
        job = {
            "arguments": list(arguments),
            "faults": settings,
            "stdin": stdin,
            "stdout": str(self.output),
            "stderr": str(messages),
            "plant": plant,
            "kill_after": kill_after,
        }
        assert self.process.stdin is not None
        print(json.dumps(job), file=self.process.stdin, flush=True)
        return int(self._answer()), messages.read_text(errors="replace")

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


class Prepared:
    """A case with what its command writes when nothing fails.

    Attributes:
        old, new: Fingerprints of the output before and after.
        answers: What the model of `Case.loaded` translates before and after.
        log: Calls of the command.
        limit: Seconds after which a command is taken to hang.

    Raises:
        RuntimeError: The command fails by itself.
    """

    def __init__(self, worker: Worker, case: Case, model: Path, data: Path, work: Path):
        self.worker, self.case = worker, case
        self.places = Places(model, data, work / "out", data / "other")
        self.kept = work / "before"
        self.answers: list[str] = []
        for folder in (self.places.out, self.kept):
            shutil.rmtree(folder, ignore_errors=True)
        self.places.out.mkdir(parents=True)
        if "{other}" in case.before and not self.places.other.exists():
            self._run_well(("train", "{data}/tiny.toml", "--output", "{other}", "--quiet"))
        if case.prepare:
            case.prepare(self.places)
        if case.before:
            self._run_well(case.before)
        self._keep_answer()
        self.old = fingerprint(self.places.out)
        shutil.copytree(self.places.out, self.kept)
        begin = time.monotonic()
        self._run_well(case.arguments)
        self.limit = max(60.0, 10 * (time.monotonic() - begin))
        self.log = worker.log.read_text()
        self._keep_answer()
        self.new = fingerprint(self.places.out)

    def _run_well(self, arguments: Sequence[str]) -> None:
        code, messages = self.worker.run(self.places.filled(arguments), self.places.out)
        if code:
            raise RuntimeError(f"{self.case.name} without faults ends with {code}: {messages}")

    def _keep_answer(self) -> None:
        if not self.case.loaded:
            return
        code, answer = self.translated()
        if code or answer in self.answers:
            raise RuntimeError(f"{self.case.name}: the models do not differ, or {code}: {answer}")
        self.answers.append(answer)

    def translated(self) -> tuple[int, str]:
        """Exit code, and translations or messages, of `translate` with the model that is there."""
        arguments = self.places.filled(("translate", self.case.loaded, "--too-long", "crop"))
        text = str(self.places.data / "texts.de")
        code, messages = self.worker.run(arguments, self.places.out, stdin=text)
        return code, messages if code else self.worker.output.read_text()

    def reset(self) -> None:
        """Restores the output folder to what it was before."""
        shutil.rmtree(self.places.out)
        shutil.copytree(self.kept, self.places.out)
