"""Long documents with protected text take time in proportion to their length."""

import time

import pytest
from translated_words import translation

from keras_attn_nmt.text.protection import Protection
from keras_attn_nmt.text.words import word_spans


def test_long_documents_with_many_tags():
    count = 2000
    text = "".join(f'<b id="{place}">Haus</b> %{place}$s See. ' for place in range(count))
    plan = Protection(["defaults"], markup=True).plan(text.strip())
    assert plan.text == " ".join(["Haus See."] * count)
    spans = [(10 * place, 10 * place + 9) for place in range(count)]
    found = translation("Haus See.", "house lake.", [0, 1, 2])
    text = plan.restore_sentences([(span, found) for span in spans])
    expected = "".join(f'<b id="{place}">house</b> %{place}$s lake. ' for place in range(count))
    assert text == expected.strip()


@pytest.mark.parametrize(
    ("sentence", "options"),
    [
        ("Zimmer {0} hat {1} Betten.", {"protect": ["number"]}),
        ("Zimmer 3 hat 4 Betten.", {"protect": ["number"]}),
        ("Zimmer X-{0} hat Betten.", {"protect": [r"X-\d+"], "stand_in": "A.B.C"}),
    ],
)
def test_time_grows_with_the_length_of_documents(sentence, options):
    def seconds(count):
        sentences = [sentence.format(place, place + 7) for place in range(count)]
        plan = Protection(**options).plan(" ".join(sentences))
        known, found = 0, []
        for place in range(count):
            text = Protection(**options).plan(sentences[place]).text
            words = len(word_spans(text))
            known = plan.text.index(text, known)
            span = known, known + len(text)
            found.append((span, translation(text, text, range(words))))
            known = span[1]
        start = time.process_time()
        assert plan.restore_sentences(found) == " ".join(sentences)
        return time.process_time() - start

    assert seconds(1200) < 9 * seconds(300)


@pytest.mark.parametrize("part", ["<!-- a ", "<? a ", "<![CDATA[ a ", "<code> a ", "0"])
def test_what_only_begins_like_protected_text_takes_little_time(part):
    start = time.process_time()
    plan = Protection(["defaults"]).plan("<!-- a --><? b ?> <b>Haus</b> %" + 16000 * part)
    assert [mark.raw for mark in plan.marks][:3] == ["<!-- a --><? b ?>", "<b>", "</b>"]
    assert plan.text.startswith("Haus %")
    assert time.process_time() - start < 4
