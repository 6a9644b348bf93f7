"""Long documents with protected text take time in proportion to their length."""

import sys
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


def test_steps_grow_with_the_length_of_documents():
    def steps(count):
        sentences = [f"Zimmer {place} hat {place + 7} Betten." for place in range(count)]
        plan = Protection(["number"]).plan(" ".join(sentences))
        known, found = 0, []
        for sentence in sentences:
            span = known, known + len(sentence)
            words = len(word_spans(sentence))
            found.append((span, translation(sentence, sentence, range(words))))
            known = span[1] + 1
        assert plan.text == " ".join(sentences)
        executed = 0

        def trace(*_):
            nonlocal executed
            executed += 1
            return trace

        tracing = sys.gettrace()
        sys.settrace(trace)
        try:
            text = plan.restore_sentences(found)
        finally:
            sys.settrace(tracing)
        assert text == plan.text
        return executed

    assert steps(1600) < 6 * steps(400)


@pytest.mark.parametrize(
    ("begin", "part", "count"),
    [
        *(("%", part, 16_000) for part in ("<!-- a ", "<? a ", "<![CDATA[ a ", "<code> a ")),
        *((begin, "0", 64_000) for begin in ("%", "%(a)")),
    ],
)
def test_what_only_begins_like_protected_text_takes_little_time(begin, part, count):
    start = time.process_time()
    plan = Protection(["defaults"]).plan(f"<!-- a --><? b ?> <b>Haus</b> {begin}{count * part}")
    assert [mark.raw for mark in plan.marks][:3] == ["<!-- a --><? b ?>", "<b>", "</b>"]
    assert plan.text.startswith("Haus %")
    assert time.process_time() - start < 4
