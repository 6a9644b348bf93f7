"""Translation memories: languages, inline codes, and files that are refused."""

import gzip

import pytest

from keras_attn_nmt.training.recipe import DataRecipe
from keras_attn_nmt.training.splits import load_split
from keras_attn_nmt.training.tmx import read_tmx

HEADER = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE tmx SYSTEM "tmx14.dtd">\n'
    '<tmx version="1.4"><header srclang="de" datatype="plaintext"/><body>\n'
)
END = "</body></tmx>\n"


def texts(dataset):
    return [(source.decode(), target.decode()) for source, target in dataset.as_numpy_iterator()]


def unit(**segments):
    tuvs = (
        f'<tuv xml:lang="{name.replace("_", "-")}"><seg>{text}</seg></tuv>'
        for name, text in segments.items()
    )
    return f"<tu>{''.join(tuvs)}</tu>\n"


def read(tmp_path, body, source="de", target="en", name="memory.tmx"):
    content = body if isinstance(body, bytes) else (HEADER + body + END).encode()
    (tmp_path / name).write_bytes(content)
    return read_tmx(tmp_path / name, source, target)


def test_pairs_in_order_with_known_number(tmp_path):
    body = "".join(unit(de=f"Satz {i} &amp; mehr", en=f"sentence {i}") for i in range(3000))
    dataset = read(tmp_path, body)
    assert dataset.cardinality() == 3000
    expected = [(f"Satz {i} & mehr", f"sentence {i}") for i in range(3000)]
    assert texts(dataset) == texts(dataset) == expected
    packed = gzip.compress((HEADER + body + END).encode())
    assert texts(read(tmp_path, packed, name="memory.tmx.gz")) == expected


def test_variants_of_languages(tmp_path, caplog):
    body = (
        unit(DE_AT="Jänner", EN_us="January", fr="janvier")
        + unit(de="Haus", en_GB="house", en="home")
        + unit(de="See", fr="lac")
        + unit(deu="Bach", en="brook")
        + unit(de="Farbe", en="", en_GB=" ", en_US="color").replace(
            "</tu>", '<tuv xml:lang="en-GB"><seg>colour</seg></tuv></tu>'
        )
    )
    expected = [("Jänner", "January"), ("Haus", "home"), ("Farbe", "colour")]
    assert texts(read(tmp_path, body)) == expected
    assert "2 of 5 translation units lack de or en and are left out" in caplog.text
    assert texts(read(tmp_path, body, "en_us", "FR")) == [("January", "janvier")]
    with pytest.raises(ValueError, match=r"no translation unit in de and pt.*de \(3\).*deu \(1\)"):
        read(tmp_path, body, "de", "pt")
    with pytest.raises(ValueError, match="are both 'de'"):
        read(tmp_path, body, "de", "de")
    old = '<tu><tuv lang="de"><seg>a</seg></tuv><tuv lang="en"><seg>b</seg></tuv></tu>'
    assert texts(read(tmp_path, old)) == [("a", "b")]


def test_inline_codes_are_removed_and_highlighted_text_is_kept(tmp_path):
    source = (
        'Ein <bpt i="1">&lt;b></bpt><hi type="x">kleines</hi><ept i="1">&lt;/b></ept> Haus'
        '<ph>&lt;img alt="<sub>ein Bild</sub>"/></ph>\n      am See.'
    )
    body = unit(de=source, en="<![CDATA[A & B]]> &#x2014; <it pos='begin'>x</it>c")
    assert texts(read(tmp_path, body)) == [("Ein kleines Haus am See.", "A & B — c")]


def test_declared_encodings(tmp_path):
    text = HEADER.replace("UTF-8", "UTF-16") + unit(de="grün", en="green") + END
    assert texts(read(tmp_path, text.encode("utf-16"))) == [("grün", "green")]
    text = text.replace("UTF-16", "ISO-8859-1")
    assert texts(read(tmp_path, text.encode("latin-1"))) == [("grün", "green")]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", r"memory\.tmx, line 1: not a TMX file.*no element found"),
        (b"de\ten\n", "line 1: not a TMX file"),
        (b"<html></html>", "line 1: the root element is <html>, expected <tmx>"),
        ((HEADER + unit(de="a", en="b")).encode(), "line 5: .*damaged one: no element found"),
        (HEADER.encode() + b"<tu>\xff</tu>", "line 4: .*not well-formed"),
        ("<tu><tuv><seg>a</seg></tuv></tu>", "line 4: a <tuv> has no xml:lang"),
        (HEADER.replace("UTF-8", "UUTF-8").encode(), "line 1: encoding not known .*UUTF-8"),
        (unit(de="a&nbsp;b", en="c"), r"line 4: .*(&nbsp; is not defined|undefined entity)"),
        (
            b'<!DOCTYPE tmx [<!ENTITY nbsp "\xc2\xa0">]>\n<tmx>&nbsp;</tmx>',
            "line 1: it declares the entity 'nbsp', which is refused",
        ),
        (
            b'<!DOCTYPE tmx [<!ENTITY legal SYSTEM "legal.txt">]>\n<tmx>&legal;</tmx>',
            "declares the entity 'legal'",
        ),
        (gzip.compress(HEADER.encode(), mtime=0)[:-20], "damaged gzip file"),
        ("", "no translation unit in de and en. Its languages: none"),
    ],
)
def test_damaged_and_dangerous_files(tmp_path, body, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, body)


def test_recipe_holds_out_validation_pairs(tmp_path):
    body = "".join(unit(de=f"a{i}", en=f"b{i}") for i in range(100))
    (tmp_path / "memory.tmx").write_text(HEADER + body + END)
    data = DataRecipe("tmx", folder=str(tmp_path), train="memory.tmx", validation="", size=7)
    assert [len(texts(load_split(data, split))) for split in ("train", "validation")] == [7, 5]
    with pytest.raises(FileNotFoundError, match=r"Neither .*other\.tmx nor"):
        load_split(DataRecipe("tmx", folder=str(tmp_path), train="other.tmx"), "train")
