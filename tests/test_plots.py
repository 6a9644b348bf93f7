import io
import itertools
import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure

from keras_attn_nmt.plots import plot_attention, plot_translation
from keras_attn_nmt.text.alignment import GoldAlignment, fold_attention
from keras_attn_nmt.translation import Translation

SOURCE = ["▁ein", "und", "vier", "zig", "</s>"]
TARGET = ["▁forty", "-", "one", "</s>"]


def uniform(target: int, source: int) -> np.ndarray:
    return np.full((target, source), 1 / source)


def labels(figure: Figure) -> tuple[list[str], list[str]]:
    axes = figure.axes[0]
    return (
        [label.get_text() for label in axes.get_xticklabels()],
        [label.get_text() for label in axes.get_yticklabels()],
    )


def source_labels(tokens: list[str]) -> list[str]:
    return labels(plot_attention(uniform(1, len(tokens)), tokens, ["x"]))[0]


def translation(source: list[str], target: list[str], text: str) -> Translation:
    weights = np.random.default_rng(0).dirichlet(np.ones(len(source)), len(target))
    return Translation(text, -0.123, source, target, np.zeros(len(target)), weights)


def dejavu_entry() -> font_manager.FontEntry:
    path = font_manager.findfont("DejaVu Sans")
    return next(entry for entry in font_manager.fontManager.ttflist if entry.fname == path)


@pytest.fixture
def only_dejavu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without any font but Matplotlib's default one."""
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [dejavu_entry()])
    monkeypatch.setattr(font_manager, "findSystemFonts", list)


def test_cell_colour_matches_its_weight():
    weights = np.random.default_rng(0).random((4, 5))
    weights[0, 3], weights[2, 0] = 1.0, 0.0
    figure = plot_attention(weights, SOURCE, TARGET)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())
    to_pixels = figure.axes[0].transData.transform
    for row, column in np.ndindex(weights.shape):
        x, y = to_pixels((column + 0.5, row + 0.5))
        shade = pixels[len(pixels) - 1 - int(y), int(x), :3]
        np.testing.assert_allclose(shade, 255 * weights[row, column], atol=1.5)


def test_source_is_on_top_target_on_the_left_without_clipping():
    title = "einundvierzig kostet viel mehr als dreißig und viel weniger als hundert → forty-one"
    figure = plot_attention(uniform(4, 5), SOURCE, TARGET, title=title)
    figure.canvas.draw()
    axes = figure.axes[0]
    assert labels(figure) == (
        ["_ein", "und", "vier", "zig", "</s>"],
        ["_forty", "-", "one", "</s>"],
    )
    cells = axes.get_window_extent()
    for column, label in enumerate(axes.get_xticklabels()):
        box = label.get_window_extent()
        assert box.y0 >= cells.y1
        assert int(axes.transData.inverted().transform(box.get_points()).mean(axis=0)[0]) == column
    for row, label in enumerate(axes.get_yticklabels()):
        box = label.get_window_extent()
        assert box.x1 <= cells.x0
        assert int(axes.transData.inverted().transform(box.get_points()).mean(axis=0)[1]) == row
    for text in (*axes.get_xticklabels(), *axes.get_yticklabels(), axes.title):
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0
        assert box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1


@pytest.mark.parametrize("tokens", [1, 5, 80])
def test_labels_are_legible_and_do_not_overlap(tokens):
    names = [f"▁Wort{index}" for index in range(tokens)]
    figure = plot_attention(uniform(tokens, tokens), names, names)
    figure.canvas.draw()
    across = figure.axes[0].get_xticklabels()
    down = figure.axes[0].get_yticklabels()
    assert len(across) == len(down) == tokens
    assert all(label.get_fontsize() * figure.dpi / 72 >= 13 for label in (*across, *down))
    columns = [label.get_window_extent() for label in across]
    assert all(left.x1 <= right.x0 for left, right in itertools.pairwise(columns))
    rows = [label.get_window_extent() for label in down]
    assert all(upper.y0 >= lower.y1 for upper, lower in itertools.pairwise(rows))


def test_cells_are_square_and_figure_size_is_bounded():
    sizes = []
    for tokens in (5, 50, 300, 2000):
        names = ["x"] * tokens
        figure = plot_attention(uniform(2, tokens), names, ["a", "b"])
        cells = figure.axes[0].get_window_extent()
        assert cells.width / tokens == pytest.approx(cells.height / 2)
        sizes.append(figure.get_size_inches()[0])
    assert sizes == sorted(sizes)
    assert sizes[-1] < 42
    assert len(labels(figure)[0]) < 2000


def test_tokens_are_rendered_verbatim():
    tokens = ["▁$5", "$x^2$", "x_1", "100%", "", " "]
    figure = plot_attention(uniform(1, 6), tokens, ["x"], title="$5 and $6")
    assert labels(figure)[0] == ["_$5", "$x^2$", "x_1", "100%", "", " "]
    assert not any(label.get_parse_math() for label in figure.axes[0].get_xticklabels())
    assert not figure.axes[0].title.get_parse_math()


def test_control_characters_and_long_tokens_are_replaced():
    assert source_labels(["\n", "a\tb"]) == ["U+000A", "a U+0009 b"]
    (label,) = source_labels(["a" * 500])
    assert len(label) == 32
    assert label.endswith("a…")


def test_byte_pieces_name_the_character_they_spell():
    tokens = ["<0xC3>", "<0xA9>", "<0x41>", "e", "<0xE2>", "<0x82>", "<0xFF>", "<0x0A>"]
    assert source_labels(tokens) == [
        *("é 1/2", "é 2/2", "A", "e"),
        *("<0xE2>", "<0x82>", "<0xFF>", "<0x0A>"),
    ]


def test_characters_without_a_font_become_code_points_with_a_warning(only_dejavu):
    with pytest.warns(UserWarning, match=r"2 of the characters: 日本 .*Noto Sans CJK") as caught:
        figure = plot_attention(uniform(1, 2), ["▁日本", "a"], ["x"], title="日")
    assert Path(caught[0].filename) == Path(__file__)
    assert labels(figure)[0] == ["_ U+65E5 U+672C", "a"]
    assert figure.axes[0].get_title() == "U+65E5"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO(), format="png")


def test_fallback_fonts_include_newly_installed_ones(monkeypatch):
    monkeypatch.setattr(
        font_manager.fontManager,
        "ttflist",
        [entry for entry in font_manager.fontManager.ttflist if entry.name == "STIXGeneral"],
    )
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [dejavu, __file__])
    dejavu = str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))
    with warnings.catch_warnings(), matplotlib.rc_context({"font.family": "STIXGeneral"}):
        warnings.simplefilter("error")
        figure = plot_attention(uniform(1, 2), ["שלום", "word"], ["x"])
        figure.savefig(io.BytesIO(), format="png")
    label = figure.axes[0].get_xticklabels()[0]
    assert label.get_text() == "שלום"
    assert label.get_fontfamily() == ["STIXGeneral", "DejaVu Sans"]


def test_japanese_is_rendered_if_a_font_has_it():
    tokens = ["彼", "は", "日本", "語", "を", "話す", "。"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure = plot_attention(uniform(1, len(tokens)), tokens, ["x"])
        figure.savefig(io.BytesIO(), format="png")
    if any("No installed font" in str(warning.message) for warning in caught):
        pytest.skip("no font with Japanese characters is installed")
    assert not caught
    assert labels(figure)[0] == tokens


def test_words_replace_pieces_on_request():
    source, target = ["▁ein", "und", "▁", "<0xE2>", "<0x82>", "<0xAC>", "</s>"], TARGET
    weights = np.random.default_rng(0).dirichlet(np.ones(7), 4)
    figure = plot_attention(weights, source, target, words=True)
    assert labels(figure) == (["einund", "€"], ["forty-one"])
    (image,) = figure.axes[0].get_images()
    np.testing.assert_allclose(image.get_array(), fold_attention(weights, source, target))
    with pytest.raises(ValueError, match="5 source and 0 target"):
        plot_attention(uniform(1, 5), ["▁a", "▁b", "▁c", "▁d", "▁e"], ["</s>"], words=True)


@pytest.mark.parametrize("words", [False, True])
def test_an_alignment_is_outlined(words):
    source = ["▁drei", "und", "zwanzig", "▁Uhr", "</s>"]
    target = ["▁twenty", "-", "three", "▁o", "</s>"]
    gold = GoldAlignment(sure={(0, 0)}, possible={(0, 0), (1, 1)})
    figure = plot_attention(uniform(5, 5), source, target, alignment=gold, words=words)
    sure, possible = figure.axes[0].patches
    cells = [(0, 1, 0, 1), (1, 2, 1, 2)] if words else [(0, 3, 0, 3), (3, 4, 3, 4)]
    boxes = [patch.get_bbox() for patch in (sure, possible)]
    assert [(box.x0, box.x1, box.y0, box.y1) for box in boxes] == cells
    assert (sure.get_linestyle(), possible.get_linestyle()[1]) == ("-", (2, 1.5))


def test_an_alignment_of_words_is_outlined():
    links = {(1, 0), (0, 1)}
    figure = plot_attention(uniform(2, 2), ["der", "Hund"], ["dog", "the"], alignment=links)
    boxes = [patch.get_bbox() for patch in figure.axes[0].patches]
    assert [(box.x0, box.y0) for box in boxes] == [(0, 1), (1, 0)]


@pytest.mark.parametrize("link", [(1, 0), (0, 1), (-1, 0)])
def test_a_link_out_of_range_is_refused(link):
    with pytest.raises(ValueError, match=r"out of range for 1 source and 1 target words"):
        plot_attention(uniform(4, 5), SOURCE, TARGET, alignment={(0, 0), link})


@pytest.mark.parametrize("tokens", [1, 5, 60])
def test_a_colour_bar_is_as_high_as_the_cells(tokens):
    names = ["x"] * tokens
    figure = plot_attention(uniform(tokens, tokens), names, names, colorbar=True)
    figure.canvas.draw()
    cells, bar = (axes.get_window_extent() for axes in figure.axes)
    assert cells.width == pytest.approx(cells.height)
    assert (bar.y0, bar.y1) == pytest.approx((cells.y0, cells.y1))
    assert bar.x0 > cells.x1
    ticks = [label.get_window_extent() for label in figure.axes[1].get_yticklabels()]
    assert all(lower.y1 < upper.y0 for lower, upper in itertools.pairwise(ticks))
    assert all(tick.x1 <= figure.bbox.x1 for tick in ticks)
    assert ticks[0].y0 >= 0 and ticks[-1].y1 <= figure.bbox.y1


def test_a_translation_has_source_and_score_in_its_title():
    found = translation(SOURCE, TARGET, "forty-one")
    figure = plot_translation(found, words=True, alignment=found.alignment())
    assert figure.axes[0].get_title() == "einundvierzig\nforty-one\nscore −0.12"
    assert labels(figure) == (["einundvierzig"], ["forty-one"])
    assert len(figure.axes) == 2
    assert len(figure.axes[0].patches) == 1


def test_a_translation_of_sixty_by_sixty_tokens_is_legible():
    source = [f"▁Wort{index}" for index in range(59)] + ["</s>"]
    found = translation(source, source, " ".join(f"word{index}" for index in range(59)))
    figure = plot_translation(found, alignment=found.alignment())
    figure.canvas.draw()
    axes = figure.axes[0]
    labelled = (*axes.get_xticklabels(), *axes.get_yticklabels())
    assert len(labelled) == 120
    assert all(label.get_fontsize() >= 9 for label in labelled)
    box, above = axes.title.get_window_extent(), axes.get_xticklabels()[0].get_window_extent()
    assert box.y0 >= above.y1
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_saves_common_formats(tmp_path, suffix):
    path = tmp_path / f"heat.{suffix}"
    plot_attention(uniform(4, 5), SOURCE, TARGET).savefig(path)
    assert path.stat().st_size > 1000


def test_does_not_import_pyplot():
    program = (
        "import sys; from keras_attn_nmt.plots import plot_attention; "
        "plot_attention([[1.0]], ['a'], ['b']); print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (uniform(5, 4), r"shape \(5, 4\), but 4 target tokens and 5 source tokens .* \(4, 5\)"),
        (uniform(4, 5)[None], r"shape \(1, 4, 5\)"),
        (uniform(4, 5) * 100, "ranges from 20 to 20; expected weights"),
        (uniform(4, 5) * np.nan, "ranges from nan to nan; expected weights"),
    ],
)
def test_invalid_weights_are_rejected(weights, message):
    with pytest.raises(ValueError, match=message):
        plot_attention(weights, SOURCE, TARGET)


def test_empty_tokens_are_rejected():
    with pytest.raises(ValueError, match="5 source and 0 target tokens"):
        plot_attention(np.zeros((0, 5)), SOURCE, [])
