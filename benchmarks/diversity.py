"""How diverse n-best lists are, and how good their best translations, by diversity penalty.

    python benchmarks/diversity.py MODEL SOURCE REFERENCE --sentences 200

Prints a table in Markdown: BLEU of the first hypotheses; oracle BLEU, of the hypotheses with the
best sentence-level BLEU; and of each list, the mean numbers of different texts and of different
words, and the mean BLEU of each hypothesis against each other one (Shen et al. 2019: lower is more
diverse).
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
from pathlib import Path

import sacrebleu

from keras_attn_nmt import Translator
from keras_attn_nmt.training.evaluation import corpus_scores, sentence_scores


def bleu(translations: list[str], references: list[str]) -> float:
    """Corpus BLEU."""
    return float(corpus_scores(translations, references)["bleu"]["score"])


def pairwise_bleu(texts: list[str]) -> float:
    """Mean sentence-level BLEU of each text against each other one."""
    metric = sacrebleu.BLEU(effective_order=True)
    pairs = itertools.permutations(texts, 2)
    return statistics.mean(metric.sentence_score(one, [other]).score for one, other in pairs)


def main() -> None:
    """Translates with each penalty."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("source", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--sentences", type=int, help="the first ones (default: all)")
    parser.add_argument("--beam-size", type=int, default=5)
    parser.add_argument("--penalties", type=float, nargs="+", default=[0, 0.2, 0.5, 1.0])
    options = parser.parse_args()
    sources, references = (
        path.read_text("utf-8").splitlines()[: options.sentences]
        for path in (options.source, options.reference)
    )
    translator = Translator.load(options.model)
    print("| diversity penalty | BLEU | oracle BLEU | texts | words | pairwise BLEU |")
    print("|---|---|---|---|---|---|")
    for penalty in options.penalties:
        found = translator.nbest(
            sources, beam_size=options.beam_size, diversity_penalty=float(penalty)
        )
        lists = [[each.text for each in hypotheses] for hypotheses in found]
        oracle = []
        for texts, reference in zip(lists, references, strict=True):
            scores = sentence_scores(texts, [reference] * len(texts))
            oracle.append(max(zip(texts, scores, strict=True), key=lambda pair: pair[1]["bleu"])[0])
        different = statistics.mean(len(set(texts)) for texts in lists)
        words = statistics.mean(len(set(" ".join(texts).split())) for texts in lists)
        pairs = [pairwise_bleu(texts) for texts in lists if len(texts) > 1]
        pairwise = statistics.mean(pairs) if pairs else math.nan
        best = bleu([texts[0] for texts in lists], references)
        print(
            f"| {penalty:g} | {best:.1f} | {bleu(oracle, references):.1f} | {different:.1f} | "
            f"{words:.1f} | {pairwise:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
