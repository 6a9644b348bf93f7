"""The command line in separate processes, on real pipes and broken streams."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading

import pytest
from command_line import PROGRAM, run, run_in_shell

from keras_attn_nmt.translator import Translator

# An answer that does not come would be waited for without end.
PATIENCE = 120
# A terminal and files as they are without a locale.
ASCII = {
    "LC_ALL": "C",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONIOENCODING": "ascii",
}


@contextlib.contextmanager
def started(arguments, **environment):
    process = subprocess.Popen(
        [*PROGRAM, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
        # A shell starts what runs in its background with SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    killer = threading.Timer(PATIENCE, process.kill)
    killer.start()
    with process:
        yield process
    killer.cancel()


def answer(process, text):
    process.stdin.write(text.encode())
    process.stdin.flush()
    return process.stdout.readline().decode()


def test_translations_are_streamed_line_by_line(model):
    arguments = ["translate", model, "--json", "--n-best", "2", "--beam-size", "2"]
    with started(arguments, **ASCII) as process:
        rows = []
        for text in ("\ufeffzwei Häuser\n", "am See\n", "zwei Häuser\n"):
            rows += [json.loads(answer(process, text)), json.loads(process.stdout.readline())]
        rest, error = process.communicate(b"ein Haus")
    assert process.returncode == 0, error
    rows += map(json.loads, rest.decode().splitlines())
    places = [(row["line"], row["rank"]) for row in rows]
    assert places == [(line, rank) for line in (1, 2, 3, 4) for rank in (1, 2)]
    sources = [row["source"] for row in rows[::2]]
    assert sources == ["zwei Häuser", "am See", "zwei Häuser", "ein Haus"]
    assert [row["translation"] for row in rows[:2]] == [row["translation"] for row in rows[4:6]]
    assert rows[0]["source_tokens"] == rows[4]["source_tokens"]


def piped(text):
    """The path of a pipe with a text, as a shell gives it for <(...)."""
    end, start = os.pipe()
    with open(start, "w") as file:
        file.write(text)
    return f"/dev/fd/{end}"


@pytest.mark.parametrize(
    "command",
    [
        "evaluate {model} --beam-size 1 --json --source {} --reference {} --reference {}",
        pytest.param(
            "tune {model} --dry-run --json --beam-sizes 1 --source {} --reference {} "
            "--reference {}",
            marks=pytest.mark.slow,
        ),
        "align {model} --source {} --target {}",
    ],
)
def test_pairs_of_pipes_are_those_of_files(capfd, monkeypatch, model, tmp_path, command):
    texts = ["ein Haus\nam See\n", "a house by the lake\ntwo\n", "the house at a lake\nthree\n"]
    files = [tmp_path / str(number) for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    found = []
    for paths in (files, map(piped, texts)):
        arguments = command.format(*paths, model=model).split()
        code, out, err = run(capfd, monkeypatch, arguments)
        assert code == 0, err
        found.append(re.sub(r'"[a-z_]*second[a-z_]*": [\d.]+', "", out))
    assert found[0] == found[1] != ""


@pytest.mark.slow
def test_embeddings_are_streamed_until_interrupt(model):
    # Without TensorFlow's own messages, whatever the environment of the tests asks for.
    with started(["embeddings", model], TF_CPP_MIN_LOG_LEVEL="3") as process:
        vectors = [answer(process, text) for text in ("\ufeffein Haus\n", "See\n", "ein Haus\n")]
        process.send_signal(signal.SIGINT)
        _, error = process.communicate()
    assert process.returncode == 130
    assert error == b"\nkeras-attn-nmt: stopped.\n"
    assert vectors[0] == vectors[2] != vectors[1]
    assert len(vectors[0].split("\t")) == 10


def test_files_are_translated_in_full_chunks(capfd, monkeypatch, model, tmp_path):
    sizes = []
    nbest = Translator.nbest

    def counted(self, texts, **options):
        sizes.append(len(texts))
        return nbest(self, texts, **options)

    monkeypatch.setattr(Translator, "nbest", counted)
    (tmp_path / "lines").write_bytes(b"ein\n" * 1000)
    arguments = ["translate", model, "--beam-size", "1", "--max-length", "2"]
    with open(tmp_path / "lines", "rb") as file:
        code, out, _ = run(capfd, monkeypatch, arguments, file)
    assert (code, len(out.splitlines())) == (0, 1000)
    assert sizes == [512, 488]


@pytest.mark.parametrize(
    ("arguments", "redirections", "message"),
    [
        (["doctor"], ">&-", "error: Standard output is closed."),
        (["--help"], ">/dev/full", "No space left on device: 'standard output'"),
        (["translate", "missing"], "<&-", "error: Standard input is closed."),
    ],
)
def test_closed_or_full_stream_prints_one_message(arguments, redirections, message):
    code, out, err = run_in_shell(arguments, redirections)
    assert (code, out) == (1, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_output_that_exceeds_the_buffer_is_named_in_errors():
    program = "from keras_attn_nmt.cli.streams import write_line; write_line('x' * 100_000)"
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE)
    assert b"No space left on device: 'standard output'" in done.stderr


def test_messages_do_not_reach_stdout_if_stderr_is_closed(capfd, monkeypatch, model, tmp_path):
    (tmp_path / "s").write_text("ein Haus\n")
    (tmp_path / "g").write_text("0-0\n")
    files = ["--source", str(tmp_path / "s"), "--target", str(tmp_path / "s")]
    monkeypatch.setattr(sys, "stderr", None)  # As Python has it where it is closed.
    arguments = ["align", model, *files, "--gold", str(tmp_path / "g")]
    code, out, _ = run(capfd, monkeypatch, arguments)
    assert code == 0
    assert len(out.splitlines()) == 1
    assert "error rate" not in out


def test_arguments_are_utf8_in_an_ascii_locale(capfd, monkeypatch, model, tmp_path):
    # As Python has them there.
    sentence = "zwei Häuser".encode().decode("ascii", "surrogateescape")
    arguments = ["attention", model, sentence, "--json", "--output", str(tmp_path / "a.png")]
    code, out, _ = run(capfd, monkeypatch, arguments)
    assert code == 0
    assert json.loads(out)["source"] == "zwei Häuser"
