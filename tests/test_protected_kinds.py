"""What is protected by name: the model sees the text without it."""

import pytest

from keras_attn_nmt.text.protection import Protection


@pytest.mark.parametrize(
    ("text", "protect", "seen"),
    [
        ("Hallo {name}, wie geht's?", ["placeholder"], "Hallo, wie geht's?"),
        ("${a} und {{b}} und %s und %(c)d und {0:.2f}!", ["placeholder"], "und und und und!"),
        ("100 % der Fälle, 5% Rabatt, {nur ein Satz ohne Ende", ["defaults"], None),
        ("Siehe https://a.b/c?d=(e). Oder www.x.de!", ["url"], "Siehe. Oder!"),
        ("Siehe https://a.b/?q={query}&l=${x}. Oder www.x.de/{{id}}/de!", ["url"], "Siehe. Oder!"),
        ("Siehe https://a.b/${ x }/c", ["defaults"], "Siehe"),
        ("Schreib mailto:me@example.org?subject=Hallo%20Welt!", ["url"], "Schreib!"),
        ("{0:>10} und {name|upper} und {$name}", ["placeholder"], "und und"),
        ("5-7 km weit", ["number", r"\d+ km"], "weit"),
        ("An me+you@mail.example.org, bitte", ["email"], "An, bitte"),
        ("ACME Pro ist da", [r"ACME \w+"], "ist da"),
        ("3,50 Euro am 3.10.1990", ["number"], None),
        ("Zeile eins<br/>Zeile zwei", ["tag"], "Zeile eins Zeile zwei"),
        ("<b>Haus</b>boot", ["tag"], "Hausboot"),
        ('er sagt <b>"Ja"</b>.', ["tag"], 'er sagt "Ja".'),
        ("a < b & c > d", ["defaults"], None),
        ("{a}: {b}", ["defaults"], ""),
        (" ohne alles ", ["defaults"], None),
        ("連絡先はme@example.orgです。", ["defaults"], "連絡先は です。"),
        ("はhttps://example.org/aを、www.b.deも", ["url"], "は を、も"),
        ("%d個と%sさん", ["placeholder"], "個と さん"),
        ("%{a} und #{b} und {{{c}}}", ["placeholder"], "und und"),
        ("„HTTPS://EXAMPLE.ORG“ und sftp://a.b/c*", ["url"], "„“ und *"),
        ("3,5 - 7 %", ["number"], ""),
    ],
)
def test_the_model_sees_text_without_what_is_protected(text, protect, seen):
    assert Protection(protect).plan(text).text == (text if seen is None else seen)


@pytest.mark.parametrize("mark", "?؟،؛۔।॥።፣፧։՝׃߸߹။၊។៕།—»”…\u200f\u2069")
def test_addresses_end_before_the_marks_of_all_scripts(mark):
    for address in ("www.example.org", "https://example.org/a/", "me@example.org"):
        text = f"a {address}{mark}{mark}! b"
        (found,) = Protection(["url", "email"]).plan(text).marks
        assert found.raw == address


@pytest.mark.parametrize(
    "end",
    ["مرحبا/سلام", "привет", "हिन्दी", "a،b", "😀", "a_(b)", "a#", "a&", "a%", "a@", "a-", "a/"],
)
def test_addresses_have_letters_of_all_scripts(end):
    (found,) = Protection(["url"]).plan(f"a https://example.org/{end}").marks
    assert found.raw == f"https://example.org/{end}"


def test_a_name_that_is_misspelt_is_said(caplog):
    for name, meant in (("placeholders", "placeholder"), ("default", "defaults"), ("URL", "url")):
        Protection([name])
        assert f"did you mean {meant}?" in caplog.messages[-1]
    caplog.clear()
    Protection([r"\d+ km", "defaults"])
    assert not caplog.messages
