"""Corpus evaluation: BLEU and chrF with sacreBLEU signatures."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import time
import unicodedata
import urllib.error
from collections.abc import Sequence
from typing import Any

import keras

from keras_attn_nmt.extras import extra
from keras_attn_nmt.text.blank import INVISIBLE
from keras_attn_nmt.text.glossary import text_constraints
from keras_attn_nmt.translation import Translation
from keras_attn_nmt.translator import Translator

# Width of a length bin in source words: 1 to 5, 6 to 10, ...
BIN_WORDS = 5
_WITHOUT_INVISIBLE = str.maketrans("", "", INVISIBLE)

logger = logging.getLogger(__name__)


def corpus_scores(
    translations: Sequence[str],
    references: Sequence[str] | Sequence[Sequence[str]],
    tokenize: str = "13a",
) -> dict[str, dict[str, Any]]:
    """Corpus BLEU and chrF against one or more references (Post 2018).

    Both sides are compared as `comparable` texts, which differ from most texts in nothing.

    Args:
        translations: Detokenised translations.
        references: One reference per translation; or several such lists, as in sacreBLEU: the
            first references of all translations, then the second references, and so on.
        tokenize: sacreBLEU tokeniser, such as `"13a"`, `"ja-mecab"`, `"char"` or `"none"`.

    Returns:
        `bleu`, `bleu_lowercase` and `chrf`, each `{"score": 0 to 100, "signature": ...}`.

    Raises:
        ValueError: There are no translations, a list does not have one reference per translation,
            or the tokeniser is unknown.
    """
    lists = [_comparable(each) for each in reference_lists(references)]
    for each in lists:
        if not translations or len(translations) != len(each):
            raise ValueError(
                "Scoring needs one reference per translation and at least one translation: got "
                f"{len(translations)} translations and {len(each)} references."
            )
    scores = {}
    for name, metric in metrics(tokenize).items():
        score = metric.corpus_score(list(map(comparable, translations)), lists).score
        scores[name] = {"score": score, "signature": str(metric.get_signature())}
    return scores


def comparable(text: str) -> str:
    """A text in Unicode NFC and without invisible characters, as models write it by default.

    The characters of another form look the same, but metrics take them for other ones.
    """
    return unicodedata.normalize("NFC", text).translate(_WITHOUT_INVISIBLE)


def _comparable(references: Sequence[str]) -> list[str]:
    # A missing reference is None, as in sacreBLEU.
    return [each and comparable(each) for each in references]


def reference_lists(references: Sequence[str] | Sequence[Sequence[str]]) -> list[list[str]]:
    """Normalises to lists of first references, second references, and so on."""
    if all(isinstance(each, str) for each in references):
        return [[str(each) for each in references]]
    return [list(each) for each in references]


def metrics(tokenize: str) -> dict[str, Any]:
    """sacreBLEU's metrics by the names of `corpus_scores`, which also lists the errors."""
    with extra("train"):
        import sacrebleu
    try:
        return {
            "bleu": sacrebleu.BLEU(tokenize=tokenize),
            "bleu_lowercase": sacrebleu.BLEU(tokenize=tokenize, lowercase=True),
            "chrf": sacrebleu.CHRF(),
        }
    except KeyError as error:
        known = ", ".join(sorted(sacrebleu.BLEU.TOKENIZERS))
        raise ValueError(f"Unknown tokeniser {tokenize!r}. Known to sacreBLEU: {known}.") from error
    except (ImportError, RuntimeError) as error:
        raise ValueError(f"The tokeniser {tokenize!r} cannot be used: {error}") from error
    except urllib.error.URLError as error:
        raise ValueError(
            f"The tokeniser {tokenize!r} cannot be used, as sacreBLEU could not download its "
            f"file ({error}). Try again with a network, or choose a tokeniser without a file, such "
            "as zh, char or 13a."
        ) from error


def check_references(
    references: Sequence[str] | Sequence[Sequence[str]], tokenize: str, needed: bool = True
) -> None:
    """Warns of references that are not compared as they are, and of those that are too short.

    Of those that are not `comparable`, other tools find lower scores. BLEU needs common sequences
    of four tokens (Papineni et al. 2002, eq. 3): shorter references have 0 even for themselves,
    and, by smoothing, more for longer translations. A warning says if most are shorter.

    Args:
        references: See `corpus_scores`.
        tokenize: See `corpus_scores`.
        needed: Whether something is chosen by BLEU.

    Raises:
        ValueError: The tokeniser is unknown; or BLEU is needed and no reference has four tokens.
    """
    tokenizer = metrics(tokenize)["bleu"].tokenizer
    # A missing reference is None, as in sacreBLEU.
    given = list(filter(None, itertools.chain(*reference_lists(references))))
    if changed := sum(comparable(each) != each for each in given):
        logger.warning(
            f"{changed:,} of {len(given):,} references have decomposed or invisible "
            "characters (such as zero-width spaces): translations and references are compared in "
            "Unicode NFC and without these. Tools that compare them as they are give lower scores."
        )
    long = sum(len(tokenizer(each).split()) >= 4 for each in given)
    if long * 2 >= len(given):
        return
    message = (
        f"BLEU measures sentences of four words or more, which are {long:,} of {len(given):,} "
        f"references for the tokeniser {tokenize}. Choose one that fits the language, such as zh, "
        "ja-mecab or char (--tokenize, training.bleu_tokenize), or another measure (chrF, "
        "training.monitor=val_loss with training.bleu_sentences=0)."
    )
    if needed and not long:
        raise ValueError(message)
    logger.warning(message)


def sentence_scores(
    translations: Sequence[str],
    references: Sequence[str] | Sequence[Sequence[str]],
    tokenize: str = "13a",
) -> list[dict[str, float]]:
    """BLEU (effective order) and chrF of each sentence, for sorting rather than for reporting.

    Args:
        translations: Detokenised translations.
        references: See `corpus_scores`.
        tokenize: See `corpus_scores`.

    Returns:
        `bleu` and `chrf` of each sentence, from 0 to 100.
    """
    import sacrebleu

    bleu, chrf = sacrebleu.BLEU(tokenize=tokenize, effective_order=True), sacrebleu.CHRF()
    return [
        {
            "bleu": bleu.sentence_score(text, given).score,
            "chrf": chrf.sentence_score(text, given).score,
        }
        for text, *given in zip(
            map(comparable, translations),
            *map(_comparable, reference_lists(references)),
            strict=True,
        )
    ]


def bleu_by_length(
    sources: Sequence[str],
    translations: Sequence[str],
    references: Sequence[str] | Sequence[Sequence[str]],
    tokenize: str = "13a",
) -> list[dict[str, float]]:
    """Corpus BLEU by source length, as in figure 2 of Bahdanau et al. 2015.

    Returns:
        For each bin of `BIN_WORDS` source words that has sentences: `words` (its upper bound),
        `sentences` (their number), `bleu` and `bleu_lowercase`.
    """
    bins: dict[int, list[int]] = {}
    for index, source in enumerate(sources):
        words = max(1, len(source.split()))
        bins.setdefault(-(-words // BIN_WORDS) * BIN_WORDS, []).append(index)
    lists = reference_lists(references)
    results = []
    for words, rows in sorted(bins.items()):
        given = [[each[row] for row in rows] for each in lists]
        scores = corpus_scores([translations[row] for row in rows], given, tokenize)
        named = {name: scores[name]["score"] for name in ("bleu", "bleu_lowercase")}
        results.append({"words": words, "sentences": len(rows), **named})
    return results


def bleu_signature(tokenize: str) -> str:
    """sacreBLEU signature of the logged `val_bleu`: mixed case."""
    return str(corpus_scores(["-"], ["-"], tokenize)["bleu"]["signature"])


def evaluate(
    translator: Translator,
    sources: Sequence[str],
    references: Sequence[str] | Sequence[Sequence[str]],
    *,
    tokenize: str = "13a",
    **options: Any,
) -> dict[str, Any]:
    """Translates and scores a test set.

    Args:
        translator: The model.
        sources: Source sentences.
        references: See `corpus_scores`.
        tokenize: See `corpus_scores`.
        **options: Options of `Translator.nbest`: `beam_size`, `length_penalty`, ...

    Returns:
        The scores of `corpus_scores`, and `references` (per sentence), `exact_match` (share of
        translations equal to a reference, in [0, 1]), `search` (the fields of `SearchOptions`),
        `sentences`, `seconds`, `sentences_per_second`, `target_tokens_per_second` and
        `translations`.
    """
    scores, found = translate_and_score(
        translator, sources, references, tokenize=tokenize, **options
    )
    return {**scores, "translations": [each.text for each in found]}


def timed(
    translator: Translator, texts: Sequence[str], **options: Any
) -> tuple[list[Translation], float]:
    """Translations, and the seconds that they take without tracing and compilation.

    TensorFlow traces one graph for all shapes, and another one for texts with constraints. JAX
    compiles for each shape: there, all texts are translated twice.
    """
    texts = list(texts)
    glossary, constraints = options.get("glossary"), options.get("constraints")
    warm_up: Sequence[int] = range(len(texts))
    if keras.backend.backend() != "jax":
        rows = list(map(bool, text_constraints(texts, glossary, constraints)))
        warm_up = [rows.index(constrained) for constrained in (False, True) if constrained in rows]
    warm_up_options = dict(options)
    if constraints is not None:
        warm_up_options["constraints"] = [constraints[row] for row in warm_up]
    translator([texts[row] for row in warm_up], **warm_up_options)
    start = time.perf_counter()
    found = translator(texts, **options)
    return found, time.perf_counter() - start


def translate_and_score(
    translator: Translator,
    sources: Sequence[str],
    references: Sequence[str] | Sequence[Sequence[str]],
    *,
    tokenize: str = "13a",
    **options: Any,
) -> tuple[dict[str, Any], list[Translation]]:
    """As `evaluate`, but returns the translations with their attention beside the scores."""
    # Reject an unknown tokeniser before translating.
    check_references(references, tokenize, needed=False)
    found, seconds = timed(translator, sources, **options)
    texts = [each.text for each in found]
    lists = reference_lists(references)
    compared = zip(map(comparable, texts), *map(_comparable, lists), strict=True)
    hits = sum(text in given for text, *given in compared)
    scores = {
        **corpus_scores(texts, references, tokenize),
        "references": len(lists),
        "exact_match": hits / len(texts),
        "search": dataclasses.asdict(translator.search.replaced_by(options)),
        "sentences": len(texts),
        "seconds": seconds,
        "sentences_per_second": len(texts) / seconds,
        "target_tokens_per_second": sum(len(each.target_tokens) for each in found) / seconds,
    }
    return scores, found
