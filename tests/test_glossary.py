"""Glossaries: files, terms in texts, and word boundaries."""

import pytest

from keras_attn_nmt.text.glossary import Constraint, Glossary, occurrences, text_constraints
from keras_attn_nmt.text.word_boundaries import continues_word, ends_in_word, without_space


def found(glossary, text):
    return [each.source for each in glossary.constraints(text)]


def load(tmp_path, content):
    path = tmp_path / "terms.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Glossary.load(path)


def test_file_with_comments_blank_lines_and_several_targets(tmp_path):
    content = "\ufeff# German\tEnglish\r\n\r\nHund\thound\r\n Hund \tHound dog\r\nHund\thound\r\n"
    glossary = load(tmp_path, content + "\t \nNew  York\tBig Apple")
    (hund, york) = glossary.constraints("Ein Hund in New York.")
    assert hund == Constraint(("hound", "Hound dog"), "Hund")
    assert york == Constraint("Big Apple", "New York")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Hund\thound\nMann gentleman\n", "line 2: expected a source term, a tab and a target"),
        ("Hund\thound\tnoun\n", "line 1: expected a source term, a tab"),
        ("# all\n\nHund\t \n", "line 3: expected a source term"),
        ("\thound\n", "line 1: expected a source term"),
        (b"Hund\thound\nM\xe4dchen\tlass\n", "line 2: not UTF-8"),
        ("# nothing\n", "has no terms"),
        ("a\rb\tc\n", "line 1: A constraint is one line"),
    ],
)
def test_bad_files_are_refused_with_the_line(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, content)


@pytest.mark.parametrize("target", [None, float("nan"), ["hound", None], 3, b"x"])
def test_terms_of_a_table_that_are_no_strings_are_refused_by_name(target):
    with pytest.raises(ValueError, match=r"consists of strings, got .* and the term 'Hund'"):
        Glossary({"Katze": "cat", "Hund": target})


def test_whole_words_and_the_longest_term():
    glossary = Glossary({"Hund": "hound", "Hunde": "hounds", "Bank": "bank", "Bank am See": "x"})
    assert found(glossary, "Hund, (Hunde) Hundehütte Schäferhund Hund's Hund") == [
        *("Hund", "Hunde", "Hund", "Hund")
    ]
    assert found(glossary, "Bank am See am Seeufer, Bank am Seeufer") == ["Bank am See", "Bank"]
    # A combining mark is part of the word.
    assert found(Glossary({"u": "x"}), "u\u0308 u") == ["u"]


def test_scripts_without_spaces():
    glossary = Glossary({"犬": "dog", "子犬": "puppy", "개": "dog"})
    assert found(glossary, "私の犬と子犬です") == ["犬", "子犬"]
    assert found(glossary, "개는") == ["개"]
    # Tai Le, New Tai Lue, Tai Tham, Myanmar Extended-B and -A, Tai Viet.
    for letter in "ᥐᦁᨠꧠꩠꪀ":
        assert found(Glossary({letter: "x"}), letter * 2) == [letter] * 2
    assert occurrences("私の犬と犬", "犬") == [(2, 3), (4, 5)]
    assert without_space("▁犬") == "犬"
    assert without_space("▁dog") is None


def test_pieces_that_continue_a_word():
    pieces = ("s", "é", "<0x73>", "<0xC3>", "▁s", ".", "<0xE2>", "犬", "<0xE7>", "'")
    assert [continues_word(piece) for piece in pieces] == [True] * 4 + [False] * 6
    assert [ends_in_word(piece) for piece in ("▁hound", "<0xA9>", ".", "犬")] == [
        *(True, True, False, False)
    ]


def test_case_and_unicode_forms():
    glossary = Glossary({"laufen": "jog", "Äpfel": "pippins"})
    assert found(glossary, "Laufen laufen LAUFEN A\u0308pfel äpfel") == [
        "Laufen",
        "laufen",
        "Äpfel",
    ]
    assert found(Glossary({"insan": "human"}), "insan Insan İnsan") == ["insan", "Insan", "İnsan"]
    # What is given itself comes first.
    both = Glossary({"Essen": "Essen", "essen": "dine"})
    assert [each.targets for each in both.constraints("Essen essen")] == [("Essen",), ("dine",)]


def test_terms_met_counts_each_occurrence():
    glossary = Glossary({"Hund": ["hound", "mutt"], "Mann": "man"})
    text = "Hund Hund Mann"
    assert glossary.terms_met(text, "Hound and mutt and manly") == (2, 3)
    assert glossary.terms_met(text, "hounds, man man") == (1, 3)


@pytest.mark.parametrize("terms", [{}, {"": "a"}, {"a": []}, {"a": " "}, {"a": 3}, ["a"], {1: "a"}])
def test_bad_terms_are_refused(terms):
    with pytest.raises((ValueError, TypeError)):
        Glossary(terms)


def test_constraints_of_texts():
    glossary = Glossary({"Hund": "hound"})
    rows = text_constraints(["Ein Hund", "Haus"], glossary, [["one"], [Constraint(("a", "b"))]])
    assert [[each.targets for each in row] for row in rows] == [
        [("hound",), ("one",)],
        [("a", "b")],
    ]
    for wrong, message in (
        (["one"], "for each text"),
        (["one", "two"], "wrap it in a list"),
        ("ab", "for each text"),
    ):
        with pytest.raises(ValueError, match=message):
            text_constraints(["a", "b"], None, wrong)
    with pytest.raises(ValueError, match=r"Glossary.load\(path\)"):
        text_constraints(["a"], "terms.tsv")


def test_a_place_of_the_translation_meets_one_term():
    glossary = Glossary({"Hunde": ["hounds", "pack of hounds"]})
    assert glossary.terms_met("Hunde und Hunde", "A pack of hounds and dogs") == (1, 2)
    assert glossary.terms_met("Hunde und Hunde", "Hounds and a pack of hounds") == (2, 2)
    # A term with a choice leaves the only place of another to that one.
    glossary = Glossary({"Bub": ["boy", "lad"], "Bursche": ["lad"]})
    assert glossary.terms_met("Bursche und Bub", "lad and boy") == (2, 2)
    glossary = Glossary({"Hund": "dog", "Hundehütte": "dog house"})
    text = "Der Hund in der Hundehütte"
    assert glossary.terms_met(text, "The cat in the dog house") == (1, 2)
    assert glossary.terms_met(text, "The dog in the dog house") == (2, 2)


@pytest.mark.parametrize(
    ("term", "text", "times"),
    [
        ("می", "او می\u200cخواهد", 0),  # One word, with a zero-width non-joiner.
        ("می", "می\u200c و می", 2),
        ("Hund", "ein Hund\u00adchen", 0),
        ("Hund", "ein Hu\u00adnd", 1),
        ("Hu\u00adnd", "ein Hund", 1),
        ("New York", "in New\u00a0York und New  York", 2),
    ],
)
def test_terms_are_found_as_the_model_reads_the_text(term, text, times):
    glossary = Glossary({term: "target"})
    assert len(glossary.constraints(text)) == times
    assert len(occurrences(text, term)) == times
