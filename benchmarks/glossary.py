"""How a glossary is met, where its terms are placed, and what it costs.

    python benchmarks/glossary.py CORPUS MODEL

`CORPUS` holds Multi30k's files; `MODEL` was trained on them from German to English. The glossary
has terms that are right, but not those of the model. Prints a table in Markdown, of
test_2016_flickr:

- met: share of the terms in the sources that are in the translation, as often as there;
- BLEU: of the sentences with a term, against references in which the same words were replaced;
- own word too: share of the terms whose usual translation is there as well;
- twice: share of the terms that are there more often than in the source;
- time: of the sentences with a term, in relation to the search without a glossary.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import data

if TYPE_CHECKING:
    from keras_attn_nmt import Translator

# German term, wanted English term, words of the model and of the references for it.
TERMS = """
Mann           gentleman     man guy
Männer         gentlemen     men guys
Frau           lady          woman
Frauen         ladies        women
Junge          lad           boy
Jungen         lads          boys
Mädchen        lass          girl girls
Kind           youngster     child kid toddler
Kinder         youngsters    children kids
Kleinkind      tot           toddler
Hund           hound         dog
Hunde          hounds        dogs
Gruppe         bunch         group
Menschen       folks         people persons
Leute          folks         people
Person         individual    person
Personen       individuals   people persons
Straße         roadway       street road
Fahrrad        bicycle       bike
Auto           automobile    car
Hemd           blouse        shirt
Trikot         sweater       jersey uniform
Hut            headpiece     hat cap
Mütze          beanie        hat cap
Jacke          coat          jacket
Hose           trousers      pants
Stadt          town          city
Wald           forest        woods
Strand         seashore      beach
Feld           meadow        field
Boot           vessel        boat
Zug            railcar       train
Geschäft       store         shop
Küche          kitchenette   kitchen
Tisch          desk          table
Stuhl          seat          chair
Bürgersteig    pavement      sidewalk
Gehweg         pavement      sidewalk
Menschenmenge  throng        crowd
Spieler        athlete       player
Arbeiter       laborer       worker workers
Baby           infant        baby
Motorrad       motorbike     motorcycle
Gebäude        structure     building
Treppe         staircase     stairs steps
Gras           lawn          grass
Pferd          stallion      horse
Mikrofon       mic           microphone
Sonnenbrille   shades        sunglasses
Kamera         camcorder     camera
"""


@dataclasses.dataclass
class Term:
    """A row of the glossary."""

    source: str
    wanted: str
    usual: list[str]


def main() -> None:
    """Translates with and without the glossary, counts, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--beam-sizes", type=int, nargs="+", default=[5, 10])
    options = parser.parse_args()

    from keras_attn_nmt import Translator
    from keras_attn_nmt.text.glossary import Glossary

    lines = (line.split() for line in TERMS.strip().splitlines())
    terms = {source: Term(source, wanted, usual) for source, wanted, *usual in lines}
    glossary = Glossary({each.source: each.wanted for each in terms.values()})
    sources, references = (
        [line.strip() for line in data.read_lines(options.corpus / f"test_2016_flickr.{side}.gz")]
        for side in ("de", "en")
    )
    found = [[terms[each.source] for each in glossary.constraints(text)] for text in sources]
    rows = [row for row, present in enumerate(found) if present]
    others = [row for row, present in enumerate(found) if not present]
    texts, wanted = [sources[row] for row in rows], [found[row] for row in rows]
    replaced = [
        with_terms(references[row], present) for row, present in zip(rows, wanted, strict=True)
    ]
    translator = Translator.load(options.model)
    print(
        f"{len(terms)} terms; {sum(map(len, wanted))} times in {len(rows)} of {len(sources)} "
        "sentences\n\n| | met | BLEU | own word too | twice | time |\n|---|---|---|---|---|---|"
    )
    untouched = [sources[row] for row in others]
    same = []
    for beam_size in options.beam_sizes:
        search = {"beam_size": beam_size}
        plain, plain_time = timed(translator, texts, **search)
        constrained, its_time = timed(translator, texts, glossary=glossary, **search)
        substituted = [with_terms(*each) for each in zip(plain, wanted, strict=True)]
        for name, outputs, ratio in (
            ("without a glossary", plain, "1"),
            ("words replaced afterwards", substituted, "1"),
            ("with the glossary", constrained, f"{its_time / plain_time:.1f}"),
        ):
            cells = measures(outputs, plain, wanted, replaced)
            print(f"| {name}, beam of {beam_size} | {' | '.join(cells)} | {ratio} |")
        score = bleu(plain, [references[row] for row in rows])
        print(f"| without a glossary, references as they are | | {score:.1f} | | | |", flush=True)
        together = translator(sources, glossary=glossary, **search)
        for row, each in zip(others, translator(untouched, **search), strict=True):
            same.append(each.text == together[row].text)
    print(f"\n{sum(same)} of {len(same)} translations of sentences without a term are the same")


def timed(translator: Translator, texts: Sequence[str], **options: Any) -> tuple[list[str], float]:
    """Translations, and the least time of two calls after a first one."""
    translator(texts, **options)
    times = []
    for _ in range(2):
        start = time.perf_counter()
        found = translator(texts, **options)
        times.append(time.perf_counter() - start)
    return [each.text for each in found], min(times)


def word(text: str) -> re.Pattern:
    """A whole word, in any case."""
    return re.compile(rf"(?<![\w-]){re.escape(text)}(?![\w-])", re.IGNORECASE)


def with_terms(text: str, terms: Sequence[Term]) -> str:
    """Replaces the usual words of terms by the wanted ones, once for each occurrence."""
    for each in terms:
        for usual in each.usual:

            def replaced(match: re.Match, wanted: str = each.wanted) -> str:
                return wanted.capitalize() if match.group()[0].isupper() else wanted

            text, count = word(usual).subn(replaced, text, count=1)
            if count:
                break
    return text


def measures(
    outputs: Sequence[str],
    plain: Sequence[str],
    wanted: Sequence[Sequence[Term]],
    references: Sequence[str],
) -> list[str]:
    """Terms met, BLEU, own words beside the terms, and terms that are there too often."""
    met = own = twice = total = 0
    for output, without, terms in zip(outputs, plain, wanted, strict=True):
        for target in dict.fromkeys(each.wanted for each in terms):
            same = [each for each in terms if each.wanted == target]
            count = len(word(target).findall(output))
            met += min(count, len(same))
            already = len(word(target).findall(without))
            twice += max(0, count - len(same) - already)
            usual = {usual for each in same for usual in each.usual}
            before, now = (
                sum(len(word(each).findall(text)) for each in usual) for text in (without, output)
            )
            # The words of the model for other things remain.
            own += min(len(same), max(0, now - max(0, before - len(same))))
        total += len(terms)
    return [
        f"{met / total:.1%}",
        f"{bleu(outputs, references):.1f}",
        f"{own / total:.1%}",
        f"{twice / total:.1%}",
    ]


def bleu(outputs: Sequence[str], references: Sequence[str]) -> float:
    """Corpus BLEU, lower-cased."""
    import sacrebleu

    return sacrebleu.BLEU(lowercase=True).corpus_score(list(outputs), [list(references)]).score


if __name__ == "__main__":
    main()
