"""The signature `translate_constrained` in a Session equals `Translator` with constraints."""

import pytest
import tensorflow as tf
from questions import OPTIONS, TEXTS, assert_answers

from keras_attn_nmt import Constraint, Tokenizer
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.export import saved_model, served_constraints, signatures
from keras_attn_nmt.export.load_for_export import load_for_export


def test_translate_constrained_equals_translator(session_model, translator):
    texts = [*TEXTS, "ein Haus am See"]
    lines = ["Haus\tlake\n", "\thouse", "", "two\r\nHaus\tby\tlittle", "", " \n", "See\tlake\tby"]
    constraints = [
        [Constraint("lake", "Haus")],
        ["house"],
        [],
        ["two", Constraint(("by", "little"), "Haus")],
        *([], []),
        [Constraint(("lake", "by"), "See")],
    ]
    answers = session_model.run("translate_constrained", {"text": texts, "constraints": lines})
    wanted = translator(texts, constraints=constraints, **OPTIONS)
    for row, each in enumerate(wanted):
        assert_answers(answers, row, each)
    assert wanted[3].text.startswith("Two little")
    # A blank text has no room for a phrase.
    assert answers["constraints_missing"].tolist() == [0, 1, 0, 0, 0, 0, 0]
    alone = session_model.run(
        "translate_constrained", {"text": texts[3:4], "constraints": lines[3:4]}
    )
    assert alone["translation"][0].decode() == wanted[3].text


@pytest.mark.parametrize(
    ("line", "missing"),
    [
        ("Haus\t", 1),
        ("Haus\t\t \nlake", 1),
        ("by " * 30, 1),
        ("by by by by by by by by\nlake\nby by by by by\nlittle", 2),
        (" Haus \t  lake  ", 0),
        ("\xff\t\xff", 0),
        (b"\xff", 0),
    ],
)
def test_constraint_that_cannot_be_met_fails_no_batch(session_model, line, missing):
    texts, lines = ["ein Haus am See", "ein Haus"], [line, ""]
    answers = session_model.run("translate_constrained", {"text": texts, "constraints": lines})
    assert answers["constraints_missing"].tolist() == [missing, 0]
    plain = session_model.run("serving_default", {"text": texts})
    assert answers["translation"][1] == plain["translation"][1]


def test_as_many_constraints_are_met_as_fit_into_a_translation(session_model, translator):
    texts, lines = ["ein Haus am See", "ein Haus"], ["lake\n" * 40, ""]
    answers = session_model.run("translate_constrained", {"text": texts, "constraints": lines})
    # One token is reserved for EOS; how many a word has is up to SentencePiece's version.
    tokens = len(translator.target_tokenizer.encode(["lake"])[0])
    fitting = min(16, (OPTIONS["max_length"] - 1) // tokens)
    assert answers["constraints_missing"].tolist() == [40 - fitting, 0]
    plain = session_model.run("serving_default", {"text": texts})
    assert answers["translation"][1] == plain["translation"][1]


def test_limits_of_one_text_keep_the_batch_small(session_model):
    many = "\n".join(["a"] * 300)
    lines = [many, "by " * 5000, "\t".join(["Haus", *["lake"] * 500]), "e" * 5000 + "\tlake"]
    answers = session_model.run(
        "translate_constrained", {"text": ["Haus"] * 4, "constraints": lines}
    )
    assert answers["constraints_missing"][0] >= 300 - 16
    assert answers["constraints_missing"][1:].tolist() == [1, 0, 0]


def test_texts_and_constraints_of_different_number_are_refused(session_model):
    with pytest.raises(tf.errors.InvalidArgumentError, match="must have equal length"):
        session_model.run("translate_constrained", {"text": ["ein"], "constraints": ["a", "b"]})


def test_probes_of_a_character_vocabulary_are_within_the_limits():
    characters = Tokenizer.learn(["Straßenbahnhaltestellen am See"] * 3, 300, model_type="char")
    texts = ["Straßenbahnhaltestellen", "am See", "See"]
    rows = saved_model._probe_constraints(texts, characters, characters, max_length=64)
    assert [len(row) for row in rows] == [1, 1, 0]
    assert [each.source for row in rows for each in row] == ["", "am"]
    for (each,) in rows[:2]:
        assert len(characters.encode(each.targets)[0]) <= served_constraints.MOST_TOKENS


def test_signature_of_constraints_is_optional(model_directory):
    plain = signatures.ServedTranslator([load_for_export(model_directory)], SearchOptions())
    assert "translate_constrained" not in plain.signatures()
