"""The documented C++ program gives the same results as `Translator`."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_text
from questions import OPTIONS, TEXTS

from keras_attn_nmt import Translator

DOCS = Path(__file__).parents[2] / "docs"
OP_LIBRARY = Path(tensorflow_text.__file__).parent / "python/ops/_sentencepiece_tokenizer.so"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or not shutil.which("g++"), reason="needs g++ on Linux"
    ),
]


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cpp")
    for name in ("docs", "build"):
        (folder / name).mkdir()
    shutil.copy(DOCS / "translate.cc", folder / "docs")
    pages = "".join(path.read_text("utf-8") for path in sorted(DOCS.glob("*.md")))
    (commands,) = [
        block for block in re.findall(r"```bash\n(.*?)```", pages, re.DOTALL) if "g++" in block
    ]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-ec", commands],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder / "build" / "translate"


def answers_of(program, *arguments):
    done = subprocess.run([program, *arguments], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    answers = {}
    for line in done.stdout.decode().removesuffix("\n").split("\n"):
        signature, name, shape, *values = line.split("\t")
        answers.setdefault(signature, {})[name] = np.reshape(values, json.loads(shape))
    return answers


def test_all_signatures_run_in_cpp(program, served, model_directory):
    answers = answers_of(program, served, OP_LIBRARY, *TEXTS)
    translator = Translator.load(model_directory)
    nbest = translator.nbest(TEXTS, **OPTIONS)
    best = [hypotheses[0] for hypotheses in nbest]
    texts = [each.text for each in best]
    scored = translator.score(TEXTS, texts, length_penalty=OPTIONS["length_penalty"])
    wanted = {"translate": best, "serving_default": best, "score": scored}
    assert set(answers) == {*wanted, "nbest", "embed"}

    for signature, translations in wanted.items():
        found = answers[signature]
        if signature != "score":
            assert found["translation"].tolist() == texts
        scores = [each.score for each in translations]
        np.testing.assert_allclose(found["score"].astype(float), scores, atol=1e-4)
        for row, each in enumerate(translations if "attention" in found else []):
            length, width = each.attention.shape
            assert found["target_tokens"][row].tolist()[:length] == each.target_tokens
            np.testing.assert_allclose(
                found["attention"][row, :length, :width].astype(float), each.attention, atol=1e-5
            )
    for row, hypotheses in enumerate(nbest):
        found = answers["nbest"]["translation"][row, : len(hypotheses)]
        assert found.tolist() == [each.text for each in hypotheses]
    np.testing.assert_allclose(
        answers["embed"]["embedding"].astype(float), translator.embed(TEXTS), atol=1e-5
    )
