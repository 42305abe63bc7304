import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from analysis.plots import COLOURS, differences, heat_map, learning_curves, palette, seed_points

SUMMARY = pd.DataFrame(
    {
        "label": ["a (n=3)"] * 2 + ["b (n=1)"] * 2,
        "epoch": [1, 2, 1, 2],
        "mean": [90.0, 95.0, 91.0, 94.0],
        "low": [89.0, 94.0, None, None],
        "high": [91.0, 96.0, None, None],
        "n": [3, 3, 1, 1],
    }
)


def test_lines_bands_and_legend_are_the_data() -> None:
    colours = {"a (n=3)": (0.0, 0.0, 1.0), "b (n=1)": (1.0, 0.0, 0.0)}
    ax = learning_curves(SUMMARY, x="epoch", y="mean", hue="label", colours=colours, ax=Figure().subplots())
    first, second = ax.lines[:2]
    assert first.get_xydata().tolist() == [[1, 90], [2, 95]] and second.get_xydata().tolist() == [[1, 91], [2, 94]]
    assert to_rgb(first.get_color()) == (0, 0, 1)
    legend = ax.get_legend()
    assert legend is not None and [text.get_text() for text in legend.get_texts()] == ["a (n=3)", "b (n=1)"]
    (band,) = ax.collections  # none for the single run
    vertices = band.get_paths()[0].vertices.tolist()
    assert {(1, 89), (1, 91), (2, 94), (2, 96)} == {tuple(vertex) for vertex in vertices}


def test_axes_are_made_where_none_are_given() -> None:
    assert learning_curves(
        SUMMARY, x="epoch", y="mean", hue="label", colours=dict.fromkeys(SUMMARY["label"], (0, 0, 0))
    )


def test_a_model_keeps_its_colour() -> None:
    alone = palette({"pool (n=1)": "pool"})
    among = palette({"x": "baseline", "pool, m=31": "pool", "pool, m=62": "pool", "mine": "mine"})
    assert alone["pool (n=1)"] == among["pool, m=31"] == COLOURS["pool"]
    assert len(set(among.values())) == 4


COMPARISON = pd.DataFrame(
    {
        "label": ["a", "b"], "mean": [90.0, 91.0], "difference": [0.2, -0.1], "low": [0.1, None], "high": [0.3, None],
        "verdict": ["better", "undecided"],
    }
)  # fmt: skip
BLACK = dict.fromkeys(["a", "b"], (0.0, 0.0, 0.0))


def test_differences_are_rows_from_the_top_with_their_verdicts() -> None:
    ax = differences(COMPARISON, y="label", margin=0.15, colours=BLACK)
    estimates = [line.get_xydata().tolist() for line in ax.lines if line.get_marker() == "o"]
    assert estimates == [[[0.2, 0]], [[-0.1, 1]]] and ax.yaxis_inverted()
    assert [[0.1, 0], [0.3, 0]] in [line.get_xydata().tolist() for line in ax.lines]
    assert [text.get_text().strip() for text in ax.texts] == ["better", "undecided"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["a", "b"]
    (band,) = ax.patches
    assert band.get_extents().transformed(ax.transData.inverted()).intervalx.tolist() == pytest.approx([-0.15, 0.15])


def test_every_seed_is_a_mark() -> None:
    points = pd.DataFrame({"label": ["a", "a", "b"], "accuracy": [89.0, 91.0, 91.0]})
    ax = seed_points(points, COMPARISON, x="accuracy", y="label", colours=BLACK)
    marks = [line.get_xdata().tolist() for line in ax.lines if line.get_marker() == "|"]
    assert marks == [[89, 91], [91]]


def test_a_heat_map_is_the_pivot_of_its_table() -> None:
    table = pd.DataFrame({"n": [10, 10, 25, 25], "m": [31, 62, 31, 31], "accuracy": [90.0, 91.0, 92.0, 94.0]})
    ax = heat_map(table, rows="n", columns="m", value="accuracy", ax=Figure().subplots())
    assert [text.get_text() for text in ax.texts] == ["90.00", "91.00", "93.00"]  # the mean of two; one cell is empty
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["31", "62"]
