"""Paragraphs: texts of several sentences, split for a model of sentences and joined again.

Sentences are found by sentencex, with the rules and abbreviations of about 300 languages. Needs the
extra `text`.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from keras_attn_nmt.extras import extra
from keras_attn_nmt.text.glossary import target_phrases
from keras_attn_nmt.text.protection import Plan, Protection, plan_texts
from keras_attn_nmt.text.words import Span
from keras_attn_nmt.translation import TextTooLong

if TYPE_CHECKING:
    from keras_attn_nmt.translation import Translation

# sentencex 1.0.32 may end with a panic, which is no `Exception`, at spaces outside of ASCII.
_OTHER_SPACE = re.compile(r"[^\S\x00-\x7f]")
# Where sentences end that it does not divide: Hebrew, Tibetan and Khmer. Several marks are one end.
_OTHER_END = re.compile(r"(?<=[׃།༎។៕])(?=\s)(?!\s+[׃།༎។៕]+(?:\s|$))")


@dataclasses.dataclass(frozen=True, eq=False)
class Paragraph:
    """The translation of a text of several sentences.

    Attributes:
        text: The translation, with the white space of the source between sentences, and everything
            protected.
        sources: The sentences as the model saw them.
        sentences: The translation of each, without what was protected.
    """

    text: str
    sources: list[str]
    sentences: list[Translation]

    @property
    def score(self) -> float:
        """Sum of the scores of the sentences."""
        return float(sum(each.score for each in self.sentences))

    @property
    def complete(self) -> bool:
        """Whether no sentence was cut at the maximum length."""
        return all(each.complete for each in self.sentences)


class ParagraphTranslator:
    """Adds `paragraphs` to a class that translates sentences when it is called."""

    def paragraphs(
        self,
        texts: Sequence[str],
        language: str,
        *,
        protect: Sequence[str] = (),
        markup: bool = False,
        stand_in: str | None = None,
        **options: Any,
    ) -> list[Paragraph]:
        """Translates texts of several sentences, sentence by sentence. Needs the extra `text`.

        Args:
            texts: Texts of any number of sentences. White space between sentences is kept.
            language: Code of the source language, such as `"de"`.
            protect: See `nbest`.
            markup: See `nbest`; a pair of tags may enclose several sentences.
            stand_in: See `nbest`.
            options: Other options of the call, except for `constraints`, which apply to whole
                texts.

        Raises:
            TextTooLong: A single sentence is too long.
            ValueError: Constraints are given, or see `nbest`.
            ImportError: The sentence splitter is not installed.
        """
        if options.get("constraints") is not None:
            raise ValueError(
                "constraints apply to whole texts and cannot be assigned to the sentences of a "
                "paragraph: use a glossary, or translate the sentences as texts of their own."
            )
        wanted = target_phrases(options.get("glossary"))
        protection = Protection(protect, markup=markup, stand_in=stand_in, wanted=wanted)
        translate: Any = self
        return translate_paragraphs(
            lambda sentences: translate(sentences, **options), texts, language, protection
        )


def split_sentences(text: str, language: str) -> list[Span]:
    """Start and end of each sentence, in characters, without the white space around it.

    A line ending also ends a sentence.

    Args:
        text: The text.
        language: Language code, such as `"de"`. Languages without rules of their own have those of
            a related language, or of English.

    Raises:
        ImportError: sentencex is not installed.

    Example:
        >>> text = "Das ist z. B. Dr. Müller.  Er wohnt hier."
        >>> [text[start:end] for start, end in split_sentences(text, "de")]
        ['Das ist z. B. Dr. Müller.', 'Er wohnt hier.']
    """
    with extra("text"):
        import sentencex
    spans = []
    place = 0
    for line in text.splitlines(keepends=True):
        known = sentencex.segment(language, _OTHER_SPACE.sub(" ", line))
        for sentence in itertools.chain.from_iterable(map(_OTHER_END.split, known)):
            start = place + len(sentence) - len(sentence.lstrip())
            end = place + len(sentence.rstrip())
            if start < end:
                spans.append((start, end))
            place += len(sentence)
    return spans


def translate_paragraphs(
    translate: Callable[[list[str]], list[Translation]],
    texts: Sequence[str],
    language: str,
    protection: Protection,
) -> list[Paragraph]:
    """Translates paragraphs sentence by sentence.

    Args:
        translate: Translates sentences.
        texts: Texts of any number of sentences.
        language: Language of the texts, see `split_sentences`.
        protection: What comes through unchanged. A pair of tags may enclose several sentences.

    Raises:
        TextTooLong: A single sentence is too long.
        ValueError: Markup is not well-formed.
        ImportError: sentencex is not installed.
    """
    plans = plan_texts(protection, texts)
    spans = [split_sentences(plan.text, language) for plan in plans]
    owners = [index for index, each in enumerate(spans) for _ in each]
    sources = [
        plan.text[start:end] for plan, each in zip(plans, spans, strict=True) for start, end in each
    ]
    try:
        found = translate(sources)
    except TextTooLong as error:
        raise TextTooLong(owners[error.index], error.length, error.limit) from error
    return join_paragraphs(plans, spans, sources, found)


def join_paragraphs(
    plans: Sequence[Plan],
    spans: Sequence[Sequence[Span]],
    sources: Sequence[str],
    found: Sequence[Translation],
) -> list[Paragraph]:
    """Joins translated sentences.

    Args:
        plans: The plan of each paragraph.
        spans: The sentences of each plan's text.
        sources: All sentences, of all paragraphs.
        found: Their translations.
    """
    paragraphs = []
    done = 0
    for plan, each in zip(plans, spans, strict=True):
        here = slice(done, done + len(each))
        done += len(each)
        text = plan.restore_sentences(list(zip(each, found[here], strict=True)))
        paragraphs.append(Paragraph(text, list(sources[here]), list(found[here])))
    return paragraphs
