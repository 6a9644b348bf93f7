"""Protected text and markup come through once each, where the attention says."""

import random
import re
import xml.etree.ElementTree

import numpy as np
import pytest
from translated_words import pieces, translation

from keras_attn_nmt.text.markup import MarkupError
from keras_attn_nmt.text.protection import Protection
from keras_attn_nmt.translation import Translation


def restored(source, target, links, protect=("defaults",), **options):
    plan = Protection(protect, **options).plan(source)
    found = plan.restore(translation(plan.text, target, links))
    assert found.target_tokens[-1] == "</s>"
    return found.text


def test_tags_move_with_their_words():
    text = "ich habe <b>das <i>rote</i> Haus</b> gestern gesehen"
    target = "yesterday I saw the red house"
    links = [5, 0, 6, 2, 3, 4]
    assert restored(text, target, links) == "yesterday I saw <b>the <i>red</i> house</b>"


@pytest.mark.parametrize(
    ("text", "target", "links", "wanted"),
    [
        ("Hallo {name}, wie geht's?", "Hello, how are you?", [0, 1, 2, 3, 3, 4],
         "Hello {name}, how are you?"),
        ("{a} lacht", "laughs", [0], "{a} laughs"),
        ("wir {a} {b} lachen", "we laugh", [0, 1], "we {a} {b} laugh"),
        ("eins<br/>zwei", "one two", [0, 1], "one<br/>two"),
        ("eins <br/>zwei", "two one", [1, 0], "<br/>two one"),
        ("oft schläft ({a}) er", "he sleeps often", [2, 1, 0], None),
        ("{a}: {b}", "", [], "{a}: {b}"),
        # No space in the source, as its script has none.
        ("ซื้อ{a}บ้าน", "buys houses", [0, 1], "buys {a} houses"),
        ("你好，{a}先生！", "Hello, sir!", [0, 1, 2, 3], "Hello, {a} sir!"),
        ("{a}은 왕", "is king", [0, 1], "{a} is king"),
        ("你好{a}先生", "안녕하세요 선생님", [0, 1], "안녕하세요 {a} 선생님"),
        ("你好{a}先生", "ສະບາຍດີທ່ານ", [0], "{a}ສະບາຍດີທ່ານ"),
        ("Who is {a} now?", "من هو؟", [0, 1, 3], "من هو {a}؟"),
        ("See {a} now.", "देखो।", [0, 2], "देखो {a}।"),
        ("See {a} now.", "देखो ।", [0, 2], "देखो {a} ।"),
        ("Do you see {a}?", "տեսնո՞ւմ ես", [2, 1], "տեսնո՞ւմ {a} ես"),
    ],
)  # fmt: skip
def test_placeholders_stand_beside_their_neighbours(text, target, links, wanted):
    found = restored(text, target, links)
    if wanted is None:
        assert found.count("{a}") == 1
    else:
        assert found == wanted


def test_numbers_are_repaired():
    # Copied, changed, spelled out, lost, and doubled.
    assert restored("um 9:30 Uhr", "at 9:30", [0, 1]) == "at 9:30"
    assert restored("im Jahr 1984 war", "was in 1983", [3, 0, 2]) == "was in 1984"
    assert restored("2 Hunde", "two dogs", [0, 1]) == "2 dogs"
    assert restored("Halle 7 brennt", "hall burns", [0, 2]) == "hall 7 burns"
    assert restored("nur 5 Hunde", "only 5 5 dogs", [0, 1, 1, 2]) == "only 5 dogs"
    # The second one is of another word.
    assert restored("5 von fünf", "5 of 5", [0, 1, 2]) == "5 of 5"


@pytest.mark.parametrize(
    ("source", "target", "wanted"),
    [
        ("COVID-19 ist", "COVID-19 is", "COVID-19 is"),
        ("COVID-19 ist", "COVID-18 is", "COVID-19 is"),
        ("3.5mm Kabel", "3.5mm cable", "3.5mm cable"),
        ("i1/2 ist", "i1/2 is", "i1/2 is"),
        ("3-in-1 Mittel", "3-in-1 cleaner", "3-in-1 cleaner"),
        ("2-mal-2 ist", "2-by-3 is", "2-by-2 is"),
        ("A4-Fach-5 ist", "A4-tray-6 is", "A4-tray-5 is"),
        ("30 Jahre", "30-year-old man", "30-year-old man"),
        ("im Cafe\u03013", "in Cafe\u03013", "in Cafe\u03013"),
        ("Taste 5\ufe0f\u20e3", "key 5\ufe0f\u20e3", "key 5\ufe0f\u20e3"),
    ],
    ids=[
        "equal",
        "other",
        "unit",
        "joined",
        "several",
        "one of several",
        "of a name",
        "compound",
        "accent",
        "emoji",
    ],
)
def test_a_word_keeps_what_is_beside_its_number(source, target, wanted):
    assert restored(source, target, [0, 1]) == wanted


@pytest.mark.parametrize("markup", [False, True])
def test_a_number_with_a_tag_in_it_is_one(markup):
    protect = ["number"] if markup else ["defaults"]
    found = restored("<b>19</b>.99 Euro", "19.98 euros", [0, 1], protect, markup=markup)
    assert found == "<b>19.99</b> euros"


def test_numbers_of_two_blocks_are_two():
    text = "<p>Kapitel 1.</p><p>2 Hunde</p>"
    found = restored(text, "chapter 1. 3 dogs", [0, 1, 2, 3, 4], ["number"], markup=True)
    assert found == "<p>chapter 1.</p> <p>2 dogs</p>"
    assert restored("<b>19</b>o99 ist", "19o99 is", [0, 1]) == "<b>19o99</b> is"
    found = restored("Seite<b>5</b> Haus", "page6 house", [0, 1], ["number"], markup=True)
    assert "5" in found and "6" not in found


@pytest.mark.parametrize(
    ("source", "target", "links", "wanted"),
    [
        ("3 bis 5 Jahre", "3-5 years", [0, 3], "3-5 years"),
        ("3-5 Jahre", "3 to 5 years", [0, 0, 0, 1], "3 to 5 years"),
        ("2 in 1 Mittel", "2-in-1 cleaner", [0, 3], "2-in-1 cleaner"),
        ("4 Hunde", "\u0664-day dogs", [0, 1], "4-day dogs"),
        ("2-mal-3 und 4-mal-5", "two and 4-by-5", [0, 1, 2], None),
    ],
    ids=["range", "range in words", "words", "digits of a script", "others"],
)
def test_numbers_that_the_translation_joins_or_divides(source, target, links, wanted):
    found = restored(source, target, links)
    assert found == wanted if wanted else target.split()[-1] in found


def test_a_space_that_is_a_piece_places_no_number():
    plan = Protection(["number"]).plan("Ein Spieler mit Nr. 57 läuft")
    tokens = ["▁A", "▁player", "▁with", "▁number", "▁", "37", "▁runs", "</s>"]
    attention = np.full((8, 7), 0.01)
    # The space looks at another word than its digits do.
    attention[range(8), [0, 1, 2, 3, 0, 4, 5, 6]] += 0.93
    sources = ["▁Ein", "▁Spieler", "▁mit", "▁Nr.", "▁57", "▁läuft", "</s>"]
    text = "A player with number 37 runs"
    found = Translation(text, 0.0, sources, tokens, np.zeros(8), attention)
    assert plan.restore(found).text == "A player with number 57 runs"


def test_a_number_replaces_all_pieces_of_one_in_thai_digits():
    plan = Protection(["number"]).plan("33 houses")
    tokens = ["▁บ้าน", "▁", "๓", "๓", "</s>"]
    attention = np.full((5, 3), 0.01)
    attention[range(5), [1, 0, 0, 0, 2]] += 0.97
    found = Translation("บ้าน ๓๓", 0.0, ["▁33", "▁houses", "</s>"], tokens, np.zeros(5), attention)
    assert plan.restore(found).text == "บ้าน 33"


def test_numbers_beside_stand_ins():
    for stand_in in ("X", "X1"):
        options = {"stand_in": stand_in}
        for text in ("{name}5 Hunde", "{name}-5 Hunde", "5-{name} Hunde"):
            for target in (f"{stand_in} dogs", f"{stand_in}6 dogs"):
                found = restored(text, target, [0, 1], **options)
                assert found.count("{name}") == 1 and "5" in found


def test_the_earliest_match_is_protected():
    plan = Protection(["number", "00"]).plan("1000 Euro")
    assert plan.text == "1000 Euro"
    assert [mark.raw for mark in plan.marks] == ["1000"]


def test_references_to_no_character_are_left_out():
    text = "a&#1; {name} b"
    assert "{name}" in restored(text, "a b", [0, 1], ["placeholder"], markup=True)


@pytest.mark.parametrize(
    ("source", "written", "links", "protect", "wanted"),
    [
        (
            "Die Seite {name} drucken?",
            "Print the page {name}?",
            [2, 0, 1, 1, 1, 1, 3],
            ["placeholder"],
            "Print the page {name}?",
        ),
        ("%s hat es", "${file} has it", [0, 0, 0, 0, 0, 1], ["defaults"], "%s has it"),
        ("Seite jetzt", "page <b>now</b>", [0, 1, 1, 1, 1, 1, 1, 1], ["tag"], "page now"),
        (
            "Seite <i>jetzt</i>",
            "page <b>now</b>",
            [0, 1, 1, 1, 1, 1, 1, 1],
            ["tag"],
            "page <i>now</i>",
        ),
        # Not what the text has itself, with another number.
        ("Der {a {b} 5}", "The {a 7}", [0, 1, 2, 3], ["defaults"], "The {a {b} 5}"),
        # A pattern of the user's may be a word of the target language.
        ("Ein S1 da", "A Snow here", [0, 0, 1], ["S[0-9a-z]+"], "A Snow S1 here"),
    ],
)
def test_what_only_the_model_wrote_is_removed(source, written, links, protect, wanted):
    assert restored(source, written, links, protect) == wanted


@pytest.mark.parametrize(
    ("wanted", "options", "found"),
    [
        (["hound & <co>", "www.a.de"], {}, "Hound & <co> www.a.de"),
        (["hound & <co>"], {"markup": True}, "Hound &amp; &lt;co&gt;"),
        ([], {}, "Hound &"),
    ],
)
def test_wanted_phrases_stay(wanted, options, found):
    written = "Hound & <co> www.a.de"
    links = [0] * (len(pieces(written)) - 1)
    assert restored("Hund", written, links, ["defaults"], wanted=wanted, **options) == found


def test_tags_that_the_source_spells_out_stay():
    source, written = "Wort <i>neu</i> &lt;b&gt;", "word new <b><br>"
    found = restored(source, written, [0, 1, 2, 2, 2, 2, 2, 2], [], markup=True)
    assert found == "word <i>new</i> &lt;b&gt;"


def test_stand_in_is_replaced_where_the_model_copied_it():
    options = {"protect": ["placeholder"], "stand_in": "XX"}
    plan = Protection(["placeholder"], stand_in="XX").plan("{a} ruft {b}")
    assert plan.text == "XX ruft XX"
    assert restored("{a} ruft {b}", "XX is called by XX", [2, 1, 1, 1, 0], **options) == (
        "{b} is called by {a}"
    )
    assert restored("{a} ruft {b}", "XX calls XX XX", [0, 1, 2, 2], **options) == "{a} calls {b}"
    assert restored("{a} ruft an", "he calls", [1, 1], **options) == "{a} he calls"


def test_a_stand_in_that_the_source_has_itself_stays():
    options = {"protect": ["placeholder"], "stand_in": "X"}
    text = "Modell X kostet {a} heute"
    found = restored(text, "Model X costs X today", range(5), **options)
    assert found == "Model X costs {a} today"
    # The model lost the stand-in, but not the word.
    found = restored(text, "Model X costs today", [0, 1, 2, 4], **options)
    assert found == "Model X costs {a} today"
    # Once too often.
    found = restored(text, "Model X costs X X today", [0, 1, 2, 3, 3, 4], **options)
    assert found == "Model X costs {a} today"


@pytest.mark.parametrize(
    ("text", "target", "links", "wanted"),
    [
        # Siblings that want the same word: the second is empty.
        ("<b>Feuer</b> <i>wehr</i>", "firefighters", [0], "<b>firefighters</b><i></i>"),
        ("<a><img/></a> <b>{x}</b> Haus", "house", [0], "<a><img/></a> <b>{x}</b> house"),
        ("<b></b> Haus", "house", [0], "<b></b> house"),
        ("<p>das <!-- c > d --> Haus</p>", "the house", [0, 1], "<p>the <!-- c > d --> house</p>"),
        ('<a title="a > b">Haus</a>', "house", [0], '<a title="a > b">house</a>'),
        ("R &amp; D &lt; 3&nbsp;Euro", "R & D < 3 euros", [0, 1, 2, 3, 4, 5],
         "R &amp; D &lt; 3 euros"),
        ("<code>a &lt; b</code> gilt", "holds", [0], "<code>a &lt; b</code> holds"),
        ('<span translate="no">das <b>Haus</b></span> gilt', "holds", [0],
         '<span translate="no">das <b>Haus</b></span> holds'),
        ('rotes <bpt id="1">&lt;b&gt;</bpt>Haus<ept id="1">&lt;/b&gt;</ept>', "house red", [1, 0],
         '<bpt id="1">&lt;b&gt;</bpt>house<ept id="1">&lt;/b&gt;</ept> red'),
        ('ein <g id="1">rotes <x id="2"/> Haus</g>', "a red house", [0, 1, 2],
         'a <g id="1">red <x id="2"/> house</g>'),
        ("https://a.b?c&#38;d oder", "or", [0], "https://a.b?c&#38;d or"),
        ("ein<br>aus", "on off", [0, 1], "on<br>off"),
        ("Haus <x/>.", "house is", [0, 1], "house <x/> is"),
        ("<B>das</b> gilt", "that holds", [0, 1], "<B>that</b> holds"),
        ('<P TRANSLATE="no">das</P> gilt', "holds", [0], '<P TRANSLATE="no">das</P> holds'),
        ('<mrk mtype="protected">das</mrk> gilt', "holds", [0],
         '<mrk mtype="protected">das</mrk> holds'),
    ],
)  # fmt: skip
def test_markup_is_kept(text, target, links, wanted):
    assert restored(text, target, links, markup=True) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ein <b>Haus", "<b> in column 5 is not closed: add </b>."),
        ("ein</b> Haus", "</b> in column 4 closes no tag"),
        ("<b><i>x</b></i>", "</b> in column 8 does not close <i> in column 4"),
        ("R & D", '"&" in column 3 starts no entity: write &amp;.'),
        ("R &foo; D", '"&" in column 3 starts no entity'),
        ("1 < 2", '"<" in column 3 starts no tag: write &lt;.'),
        ("<Ph>x", "<Ph> in column 1 is not closed: add </Ph>."),
        ("<!-- x", "starts no tag"),
        ("<b>" * 101 + "x" + "</b>" * 101, "is the 101th tag that is open"),
    ],
)
def test_markup_that_is_not_well_formed_is_refused(text, message):
    with pytest.raises(MarkupError, match=re.escape(message)):
        Protection(markup=True).plan(text)
    # Text with tags that need not be well-formed.
    Protection(["tag"]).plan(text)


def test_random_markup_is_there_once_and_well_formed():
    generator = random.Random(0)
    single = ["<x id='{}'/>", "{{n{}}}", "https://a.b/{}", "%({})s", "<!--{}-->"]
    for _ in range(300):
        count, parts, known, open_tags = 0, [], [], []
        for _ in range(generator.randrange(1, 25)):
            kind = generator.randrange(4)
            if kind == 0:
                # None is a part of another: 001 and 013.
                parts.append(generator.choice(single).format(f"{(count := count + 1):03}"))
                known.append(parts[-1])
            elif kind == 1 and len(open_tags) < 4:
                open_tags.append(f"t{(count := count + 1):03}")
                parts.append(f"<{open_tags[-1]} a='1'>")
                known += [parts[-1], f"</{open_tags[-1]}>"]
            elif kind == 2 and open_tags:
                parts.append(f"</{open_tags.pop()}>")
            else:
                parts.append(generator.choice(["Haus", "am", ".", "See &amp; Co", "41"]))
            parts.append(generator.choice(["", " ", " "]))
        parts += [f"</{tag}>" for tag in reversed(open_tags)]
        text = "".join(parts)
        plan = Protection(["defaults"], markup=True).plan(text)
        target = " ".join(generator.choices(["a", "house", "<", "7", ".", "41"], k=9))
        links = [generator.randrange(len(pieces(plan.text))) for _ in range(9)]
        found = plan.restore(translation(plan.text, target, links)).text
        xml.etree.ElementTree.fromstring(f"<line>{found}</line>")
        assert [found.count(each) for each in known] == [1] * len(known), (text, found)


def test_a_pair_of_tags_encloses_several_sentences():
    plan = Protection(markup=True).plan("Eins <b>zwei. Drei</b> vier.")
    assert plan.text == "Eins zwei. Drei vier."
    found = [
        ((0, 10), translation("Eins zwei.", "One two.", [0, 1, 2])),
        ((11, 21), translation("Drei vier.", "Three four.", [0, 1, 2])),
    ]
    assert plan.restore_sentences(found) == "One <b>two. Three</b> four."


def test_a_model_without_attention_is_refused():
    plan = Protection(["placeholder"]).plan("ein {a} Haus")
    found = translation(plan.text, "a house", [0, 1])
    found.attention[:] = 0
    with pytest.raises(ValueError, match="no attention"):
        plan.restore(found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protect": "url"}, "must be a list"),
        ({"protect": ["a("]}, "'a[(]' is not a regular expression"),
        ({"protect": [""]}, "matches nothing"),
        ({"protect": ["url"], "stand_in": " "}, "stand_in must be a word"),
        ({"protect": ["url"], "stand_in": "X Y"}, "stand_in must be a word"),
        ({"protect": ["number", "tag"], "stand_in": "X"}, "stand_in='X' has no effect"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Protection(options.pop("protect"), **options)
