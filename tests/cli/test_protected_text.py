"""Protected text, markup and paragraphs on the command line."""

import json
import re
import shlex
import subprocess
import xml.etree.ElementTree
from pathlib import Path

import pytest
from command_line import PROGRAM, run

SHORT = ["--beam-size", "1", "--max-length", "8"]
TEXT = """\
ein <b>Haus</b> am See
{name} und https://example.org/a?b=1

zwei <i>kleine</i> Häuser & 41 Seen
""".encode()


@pytest.fixture
def translate(capfd, monkeypatch, model):
    def translate(text, *options):
        return run(capfd, monkeypatch, ["translate", model, *SHORT, *options], text)

    return translate


ICU = "{count, plural, one {# file in {folder}} other {# files}}"
COMMANDS = re.findall(
    r"^keras-attn-nmt translate model (.*) < \S+ > \S+$",
    (Path(__file__).parents[2] / "docs/protected-text.md").read_text("utf-8"),
    re.MULTILINE,
)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_docs_keep_everything(translate, command):
    if "--paragraphs" in command:
        pytest.importorskip("sentencex", reason="needs the extra text")
    text = b"ein <b>Haus</b> {name} am See\nACME Pro &amp; https://example.org/a\n"
    text += f"ein {ICU} am See\n".encode()
    options = shlex.split(command)
    if "--paragraphs" in options and "--language" not in options:
        options += ["--language", "de"]
    code, out, _ = translate(text, *options)
    assert (code, out.count("\n")) == (0, 3)
    kept = {
        "--protect-defaults": ["<b>", "</b>", "{name}", "https://example.org/a"],
        "--markup": ["<b>", "</b>"],
        "url": ["https://example.org/a"],
        "placeholder": ["{name}"],
        r"ACME \w+": ["ACME Pro"],
    }
    kept |= {option: [ICU] for option in options if "plural" in option}
    for option in options:
        # In JSON, the source has them, too.
        times = 2 if "--json" in options else 1
        assert all(out.count(each) == times for each in kept.get(option, ())), out


def test_the_docs_have_commands():
    assert len(COMMANDS) >= 7


def test_nothing_changes_unless_it_is_asked_for(translate):
    (code, out, _), (_, kept, _) = translate(TEXT), translate(TEXT, "--protect", "nowhere")
    assert code == 0
    assert out == kept


def test_protected_text_is_kept(translate):
    code, out, _ = translate(TEXT, "--protect-defaults", "--protect", "S[a-z]+")
    lines = out.splitlines()
    assert (code, len(lines)) == (0, 4)
    for line, kept in zip(
        lines,
        (
            ["<b>", "</b>", "See"],
            ["{name}", "https://example.org/a?b=1"],
            [],
            ["<i>", "41", "Seen"],
        ),
        strict=True,
    ):
        assert [line.count(each) for each in kept] == [1] * len(kept)
    assert lines[2] == ""


@pytest.mark.slow
def test_markup_is_translated_in_a_pipe(model):
    text = 'ein <g id="1">Haus</g> am <x id="2"/> See &amp; mehr\n<b>zwei</b>\n'
    done = subprocess.run(
        [*PROGRAM, "translate", model, *SHORT, "--markup", "--json"],
        input=text.encode(),
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["source"] for row in rows] == text.splitlines()
    # The tokens are those of the model.
    seen = "".join(rows[0]["source_tokens"])
    assert seen.startswith("▁ein▁Haus▁am▁See▁")
    assert "amp" not in seen
    names = [
        [each.tag for each in xml.etree.ElementTree.fromstring(f"<l>{row['translation']}</l>")]
        for row in rows
    ]
    assert [sorted(each) for each in names] == [["g", "x"], ["b"]]


def test_lines_before_bad_markup_are_written(translate):
    text = b"ein Haus\nein <b>Haus\nam See\n"
    code, out, err = translate(text, "--markup")
    assert (code, len(out.splitlines())) == (1, 1)
    assert "Line 2 of the input is not well-formed: <b> in column 5 is not closed" in err
    code, out, _ = translate(text, "--markup", "--bad-markup", "skip")
    assert (code, out.splitlines()[1]) == (0, "")
    assert len(out.splitlines()) == 3


def test_skipped_lines_are_empty(translate, caplog):
    text = f"Hallo {{name}} {'ein ' * 1200}<b>Haus</b>\nHallo {{name}}\n".encode()
    code, out, _ = translate(text, "--protect-defaults", "--too-long", "skip")
    first, second = out.splitlines()
    assert (code, first) == (0, "")
    assert "{name}" in second
    assert "Line 1 of the input has" in caplog.text


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--stand-in", "X"], 2, "--stand-in needs --protect"),
        (["--bad-markup", "skip"], 2, "--bad-markup needs --markup"),
        (["--language", "de"], 2, "--language needs --paragraphs"),
        (["--paragraphs", "--n-best", "2", "--beam-size", "2"], 2, "remove --n-best"),
        (["--protect", "a("], 1, "'a(' is not a regular expression"),
    ],
)
def test_options_that_do_not_go_together(capfd, monkeypatch, options, code, message):
    # Before the model is loaded.
    found, out, err = run(capfd, monkeypatch, ["translate", "missing", *options])
    assert (found, out) == (code, "")
    assert message in err


@pytest.fixture
def sentencex():
    return pytest.importorskip("sentencex", reason="needs the extra text")


PARAGRAPHS = """\
Ein Haus.  Zwei Häuser, z. B. am See! {name} <b>Zwei kleine Häuser. Am</b> See.

Ein Haus
""".encode()


def test_paragraphs_are_translated_sentence_by_sentence(translate, sentencex):
    options = ["--paragraphs", "--language", "de"]
    code, out, _ = translate(PARAGRAPHS, *options, "--markup", "--protect-defaults", "--json")
    assert code == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["line"] for row in rows] == [1, 2, 3]
    assert [row["source"] for row in rows] == PARAGRAPHS.decode().splitlines()
    sentences = [each["source"] for each in rows[0]["sentences"]]
    assert sentences == [
        "Ein Haus.",
        "Zwei Häuser, z. B. am See!",
        "Zwei kleine Häuser.",
        "Am See.",
    ]
    assert [len(row["sentences"]) for row in rows] == [4, 0, 1]
    first, second = (each["translation"] for each in rows[0]["sentences"][:2])
    assert rows[0]["translation"].startswith(f"{first}  {second}"[: len(first) + 2])
    assert all(rows[0]["translation"].count(each) == 1 for each in ("{name}", "<b>", "</b>"))
    code, plain, _ = translate(PARAGRAPHS, *options)
    assert (code, len(plain.splitlines())) == (0, 3)


def test_documents_of_thousands_of_words(translate, sentencex):
    text = ("Ein Haus am See. " * 1000).encode()
    assert translate(text)[0] == 1
    code, out, _ = translate(text, "--paragraphs", "--language", "de")
    assert (code, out.count("\n")) == (0, 1)
    # The limit is that of a sentence.
    text = b"Ein Haus.\nEin Haus. " + b"Zwei " * 1001 + b". Am See.\n"
    code, out, err = translate(text, "--paragraphs", "--language", "de")
    assert (code, out.count("\n")) == (1, 1)
    assert "Line 2, sentence 2, of the input has " in err
    code, out, _ = translate(text, "--paragraphs", "--language", "de", "--too-long", "skip")
    assert (code, out.count("\n")) == (0, 2)


def test_paragraphs_need_a_language(translate, sentencex):
    code, _, err = translate(b"Ein Haus.\n", "--paragraphs")
    assert (code, "give --language" in err) == (2, True)


@pytest.mark.parametrize("option", ["--protect-defaults", "--markup"])
def test_cropping_protected_text_is_refused(translate, option):
    code, out, err = translate(TEXT, option, "--too-long", "crop")
    assert (code, out) == (2, "")
    assert "what is cropped may hold protected text and tags: use --too-long skip" in err
