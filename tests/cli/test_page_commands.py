"""Commands that write HTML pages."""

import json
import re

import numpy as np
import pytest
import sacrebleu
from command_line import run

from keras_attn_nmt.cli import translations


def page_data(path):
    (text,) = re.findall(r'id="data">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL)
    return json.loads(text)


def test_attention_writes_a_page_of_the_best_translations(capfd, monkeypatch, model, tmp_path):
    page = tmp_path / "page.html"
    arguments = ["attention", model, "ein Haus", "--output", str(page), "--max-length", "9"]
    code, out, _ = run(capfd, monkeypatch, [*arguments, "--beam-size", "3"])
    found = page_data(page)["translations"]
    assert code == 0
    assert len(found) == 3
    assert {each["source"] for each in found} == {"ein Haus"}
    assert out == found[0]["translation"] + "\n"
    code, _, _ = run(capfd, monkeypatch, [*arguments, "--n-best", "2"])
    assert (code, len(page_data(page)["translations"])) == (0, 2)
    code, _, err = run(capfd, monkeypatch, [*arguments, "--n-best", "9"])
    assert code == 2 and "--n-best 9 requires --beam-size 9" in err
    arguments = ["attention", model, "ein Haus", "--output", str(page), "--reference", "am See"]
    code, _, _ = run(capfd, monkeypatch, arguments)
    (found,) = page_data(page)["translations"]
    assert (code, found["translation"]) == (0, "am See")


def test_evaluate_writes_a_page_of_all_sentences(capfd, monkeypatch, model, tmp_path):
    lines = {"s": ["ein Haus", "zwei kleine Häuser am See ein"], "a": ["a", "b"], "b": ["c", "d"]}
    for name, texts in lines.items():
        (tmp_path / name).write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    page = tmp_path / "report.html"
    arguments = ["evaluate", model, "--source", str(tmp_path / "s"), "--max-length", "9", "--json"]
    arguments += ["--reference", str(tmp_path / "a"), "--reference", str(tmp_path / "b")]
    code, out, _ = run(capfd, monkeypatch, [*arguments, "--html", str(page)])
    assert code == 0
    data, printed = page_data(page), json.loads(out)
    assert data["scores"]["chrf"] == printed["chrf"]
    assert data["settings"]["max length"] == 9
    assert [each["source"] for each in data["sentences"]] == lines["s"]
    assert [each["reference"] for each in data["sentences"]] == ["a / c", "b / d"]
    for each, *references in zip(data["sentences"], lines["a"], lines["b"], strict=True):
        expected = sacrebleu.sentence_chrf(each["translation"], references).score
        assert each["chrf"] == pytest.approx(expected, abs=0.06)
    assert [(each["words"], each["sentences"]) for each in data["by_length"]] == [(5, 1), (10, 1)]


def test_embeddings_draw_a_map(capfd, monkeypatch, model, tmp_path, caplog):
    page = tmp_path / "map.html"
    text = b"ein\n\nzwei\nHaus\nSee\nein\nam See\n"
    code, out, _ = run(capfd, monkeypatch, ["embeddings", model, "--html", str(page)], text)
    data = page_data(page)
    assert (code, out) == (0, "")
    assert data["texts"] == ["ein", "zwei", "Haus", "See", "am See"]
    assert np.array(data["projections"]["PCA"]).shape == (5, 2)
    code, out, err = run(capfd, monkeypatch, ["embeddings", model, "--html", str(page)], b"ein\n")
    assert (code, out) == (1, "")
    assert "at least 5 different sentences, got 1" in err
    monkeypatch.setattr(translations, "_MOST_ON_MAP", 5)
    longer = text + b"zwei kleine\nzwei kleine\n"
    code, _, _ = run(capfd, monkeypatch, ["embeddings", model, "--html", str(page)], longer)
    assert (code, page_data(page)["texts"]) == (0, data["texts"])
    assert "the map has the first 5 sentences, not 2 more" in caplog.text
    pytest.importorskip("sklearn")
    arguments = ["embeddings", model, "--html", str(page), "--method", "tsne", "--json"]
    code, out, _ = run(capfd, monkeypatch, arguments, text)
    assert (code, json.loads(out)) == (0, {"sentences": 5, "html": str(page)})
    assert list(page_data(page)["projections"]) == ["t-SNE"]
