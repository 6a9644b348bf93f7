"""Sentences of a text."""

import pytest

from keras_attn_nmt.text.glossary import Glossary
from keras_attn_nmt.text.paragraphs import ParagraphTranslator, split_sentences
from keras_attn_nmt.translation import Translation

sentencex = pytest.importorskip("sentencex", reason="no sentencex here")


@pytest.mark.parametrize("space", ["\u00a0", "\u202f", "\u3000", "\u2009"])
def test_sentences_keep_spaces_that_the_splitter_never_sees(space, monkeypatch):
    segment, seen = sentencex.segment, []
    monkeypatch.setattr(sentencex, "segment", lambda *given: seen.append(given) or segment(*given))
    text = f"Das ist z.{space}B. gut.{space}Ja, sehr{space}gut.\nUnd{space}zwei."
    found = [text[start:end] for start, end in split_sentences(text, "de")]
    assert found == [f"Das ist z.{space}B. gut.", f"Ja, sehr{space}gut.", f"Und{space}zwei."]
    assert [line for _, line in seen] == [
        "Das ist z. B. gut. Ja, sehr gut.\n",
        "Und zwei.",
    ]


@pytest.mark.parametrize(
    ("language", "sentences"),
    [
        ("km", ["ខ្ញុំ។", "គាត់ ៕", "ទៅ។ល។"]),
        ("bo", ["ང་འགྲོ།", "།ཁོང་ཡོད། །", "ང།"]),
        ("he", ["אחת׃", "שתיים׃"]),
        ("my", ["မြန်မာ။", "ဟုတ်။"]),
        ("hy", ["Ես եմ։", "Դու ես։"]),
    ],
)
def test_marks_of_other_scripts_end_a_sentence(language, sentences):
    text = "  ".join([*sentences, "x"]) + " "
    found = [text[start:end] for start, end in split_sentences(text, language)]
    assert found == [*sentences, "x"]


def test_constraints_of_a_text_do_not_reach_the_sentences_of_another():
    calls = []

    class Echo(ParagraphTranslator):
        def __call__(self, texts, **options):
            calls.append((texts, options))
            return [Translation(text, 0.0, [], [], [], [[]]) for text in texts]

    # As many sentences as texts, all of them of the first text.
    texts = ["Ein Haus. Ein See.", ""]
    with pytest.raises(ValueError, match=r"sentences of a paragraph: use a glossary"):
        Echo().paragraphs(texts, "de", constraints=[[], ["house"]])
    assert not calls
    glossary = Glossary({"Haus": "house"})
    found = Echo().paragraphs(texts, "de", glossary=glossary)
    assert calls == [(["Ein Haus.", "Ein See."], {"glossary": glossary})]
    assert [each.text for each in found] == texts
