"""Input lines with protected text, markup or several sentences: to the model and back."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from keras_attn_nmt.cli.arguments import UsageError, model_languages
from keras_attn_nmt.cli.options import utf8_text
from keras_attn_nmt.cli.too_long import fit_lines
from keras_attn_nmt.text.markup import MarkupError

if TYPE_CHECKING:
    from keras_attn_nmt.text.protection import Plan, Protection
    from keras_attn_nmt.text.words import Span
    from keras_attn_nmt.translation import Translation

logger = logging.getLogger(__name__)


def add_protection(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("protected text, markup and paragraphs")
    group.add_argument(
        "--protect",
        action="append",
        type=utf8_text,
        default=[],
        metavar="REGEX",
        help="keep what this regular expression matches unchanged (repeatable); also one of the "
        "names url, email, placeholder, number, tag, defaults (all of them)",
    )
    group.add_argument(
        "--protect-defaults",
        action="store_true",
        help="keep URLs, e-mail addresses, placeholders ({name}, %%s, ${x}), numbers and tags",
    )
    group.add_argument(
        "--stand-in",
        type=utf8_text,
        metavar="WORD",
        help="show the model this word for protected text, for models trained to copy it (default: "
        "the text is taken out and put back by attention)",
    )
    group.add_argument(
        "--markup",
        action="store_true",
        help="lines are HTML or XLIFF: keep tags well-formed, around the words they belong to",
    )
    group.add_argument(
        "--bad-markup",
        choices=("stop", "skip"),
        help="how to handle lines that are not well-formed: stop with an error or skip them (empty "
        "output) (default: stop)",
    )
    group.add_argument(
        "--paragraphs",
        action="store_true",
        help="lines have several sentences, which are translated one by one (needs the extra text)",
    )
    group.add_argument(
        "--language",
        metavar="CODE",
        help="language of the input, for --paragraphs (default: the model's source language)",
    )


def check_protection(options: argparse.Namespace, wanted: Iterable[str] = ()) -> Protection:
    """The protection that is asked for; of the phrases that are wanted, nothing is removed.

    Raises:
        UsageError: Options that do not go together.
        ValueError: A regular expression is not valid.
    """
    from keras_attn_nmt.text.protected_kinds import DEFAULTS
    from keras_attn_nmt.text.protection import Protection

    protect = [*options.protect, *([DEFAULTS] if options.protect_defaults else [])]
    if options.stand_in is not None and not protect:
        raise UsageError("--stand-in needs --protect or --protect-defaults.")
    if options.bad_markup and not options.markup:
        raise UsageError("--bad-markup needs --markup.")
    if options.too_long == "crop" and (protect or options.markup):
        raise UsageError(
            "--too-long crop cannot be combined with --protect, --protect-defaults and --markup, "
            "as what is cropped may hold protected text and tags: use --too-long skip."
        )
    if options.language and not options.paragraphs:
        raise UsageError("--language needs --paragraphs.")
    if options.paragraphs and options.n_best > 1:
        raise UsageError("--paragraphs gives one translation per line: remove --n-best.")
    if options.paragraphs and options.format != "text":
        raise UsageError("--paragraphs has no n-best list: remove --format, or use --json.")
    if options.paragraphs:
        from keras_attn_nmt.text.paragraphs import split_sentences

        split_sentences("", options.language or "")  # Before any work, if it is not installed.
    return Protection(protect, markup=options.markup, stand_in=options.stand_in, wanted=wanted)


class LineProtection:
    """Prepares lines for the model and restores what was protected in them.

    Args:
        options: Options of `translate`.
        translator: A `Translator` or `TFLiteTranslator`.
        protection: Of `check_protection`.
        excess: See `fit_lines`.

    Raises:
        UsageError: The language of paragraphs is not known.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        translator: Any,
        protection: Protection,
        excess: Callable[[str], str] | None = None,
    ):
        self._options = options
        self._excess = excess
        self._translator = translator
        self._protection = protection
        self._language = ""
        if protection and not getattr(translator, "has_attention", True):
            raise UsageError(
                "the model has no attention, which says where protected text and tags belong: "
                "remove --protect, --protect-defaults and --markup, or use another model."
            )
        if options.paragraphs:
            metadata = getattr(translator, "metadata", None)
            self._language = options.language or (
                model_languages(options.model)[0]
                if metadata is None
                else metadata.get("source_language", "")
            )
            if not self._language:
                raise UsageError("the model does not name its source language: give --language.")

    def prepare(self, lines: Sequence[str], before: int) -> PreparedLines:
        """Prepares lines, up to the first that cannot be translated.

        Args:
            lines: Lines of the input.
            before: Number of input lines before these.
        """
        from keras_attn_nmt.text.protection import Plan

        plans: list[Plan] = []
        error: ValueError | None = None
        for number, line in enumerate(lines, before + 1):
            try:
                plans.append(self._protection.plan(line))
            except MarkupError as problem:
                reason = f"Line {number} of the input is not well-formed: {problem}"
                if self._options.bad_markup != "skip":
                    error = ValueError(f"{reason} Or use --bad-markup skip.")
                    break
                logger.warning("%s Skipped.", reason)
                plans.append(Plan("", "", [], True))
        spans: list[list[Span]] | None = None
        if self._options.paragraphs:
            from keras_attn_nmt.text.paragraphs import split_sentences

            spans = [split_sentences(plan.text, self._language) for plan in plans]
        texts = [
            plan.text if spans is None else plan.text[start:end]
            for row, plan in enumerate(plans)
            for start, end in ([(0, 0)] if spans is None else spans[row])
        ]
        names = None
        if spans is not None:
            names = [
                f"Line {before + row}, sentence {number},"
                for row, each in enumerate(spans, 1)
                for number in range(1, len(each) + 1)
            ]
        fitting, too_long = fit_lines(
            *(texts, self._translator, self._options.too_long, before),
            names=names,
            excess=self._excess,
        )
        if spans is None:
            # Of a line that is skipped, nothing is restored.
            for row, (text, fit) in enumerate(zip(texts, fitting, strict=False)):
                if text and not fit:
                    plans[row] = Plan("", "", [], self._options.markup)
        if too_long:
            complete, sentences = len(fitting), 0
            if spans is not None:
                complete = 0
                while sentences + len(spans[complete]) <= len(fitting):
                    sentences += len(spans[complete])
                    complete += 1
                fitting, spans = fitting[:sentences], spans[:complete]
            plans, error = plans[:complete], too_long
        return PreparedLines(fitting, plans, spans, error)


class PreparedLines:
    """Texts for the model, and the lines that they are of.

    Attributes:
        texts: Lines or, of paragraphs, sentences.
        error: Why the following line cannot be translated, or `None`.
    """

    def __init__(
        self,
        texts: list[str],
        plans: list[Plan],
        spans: list[list[Span]] | None,
        error: ValueError | None,
    ):
        self.texts = texts
        self.error = error
        self._plans = plans
        self._spans = spans

    def restore(self, found: Sequence[Sequence[Translation]]) -> Sequence[Sequence[Any]]:
        """The hypotheses of each line, of those of the texts: a `Translation` or a `Paragraph`."""
        from keras_attn_nmt.text.paragraphs import join_paragraphs
        from keras_attn_nmt.text.protection import restore_all

        if self._spans is None:
            return restore_all(self._plans, found)
        best = [hypotheses[0] for hypotheses in found]
        return [[each] for each in join_paragraphs(self._plans, self._spans, self.texts, best)]
