import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from analysis.plots import (
    COLOURS,
    against,
    differences,
    heat_map,
    learning_curves,
    limits,
    line_styles,
    palette,
    say_cut,
    seed_points,
)

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
    table = pd.DataFrame({"n": [10, 10, 25], "m": [31, 62, 31], "accuracy": ["90.00", "91.00", "93.00"]})
    table["sd"] = [-1.0, 0.0, 2.0]
    rows, columns = {"n": [10, 25]}, {"m": [31, 62, 93]}
    ax = heat_map(table, rows=rows, columns=columns, value="accuracy", shade="sd", most=3, ax=Figure().subplots())
    assert [text.get_text() for text in ax.texts if text.get_text()] == ["90.00", "91.00", "93.00"]  # one is empty
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["31", "62", "93"]
    (mesh,) = ax.collections
    assert mesh.get_clim() == (-3, 3) and mesh.get_array().compressed().tolist() == [-1, 0, 2]


def test_lines_that_are_equal_are_all_seen() -> None:
    styles = list(line_styles(dict.fromkeys("abcdef", (0.0, 0.0, 0.0))).values())
    assert len({(str(style["linestyle"]), style["marker"]) for style in styles}) == 6
    widths = [style["linewidth"] for style in styles]
    assert widths == sorted(widths, reverse=True) and len(set(widths)) == 6  # the thinner ones are drawn later: on top


AGAINST = pd.DataFrame(
    {
        "label": ["a", "a", "a", "b", "b", "b", "c"],
        "lr": [0.001, 0.01, 0.1, 0.001, 0.01, 0.1, None],
        "mean": [80.0, 90.0, 70.0, 80.0, 90.0, 70.0, 85.0],
        "low": [79.0, 89.0, None, 79.0, 89.0, None, 84.0],
        "high": [81.0, 91.0, None, 81.0, 91.0, None, 86.0],
    }
)


def test_a_metric_against_a_number() -> None:
    ax = against(AGAINST, x="lr", hue="label", colours=dict.fromkeys("abc", (0.0, 0.0, 0.0)))
    handles, labels = ax.get_legend_handles_labels()
    assert labels == ["a", "b", "c"] and ax.get_xscale() == "log"
    x, y = handles[0].get_xydata().T
    assert x == pytest.approx([0.001, 0.01, 0.1], rel=0.1) and y.tolist() == [80, 90, 70]
    assert set(handles[2].get_ydata()) == {85}  # it has no such key: a horizontal line, with a band
    assert [tuple(patch.get_extents().transformed(ax.transData.inverted()).intervaly) for patch in ax.patches] == [
        pytest.approx((84, 86))
    ]
    bars = [segment for bars in ax.collections for segment in bars.get_segments()]
    assert len(bars) == 4  # none where there is no interval
    assert len({segment[0][0] for segment in bars}) == 4  # side by side, each at its marker
    assert {segment[0][0] for segment in bars} <= {at for handle in handles[:2] for at in handle.get_xdata()}


def test_points_stand_aside_only_where_they_share_a_place() -> None:
    table = pd.DataFrame({"x": [1, 2, 10, 2, 3], "mean": 1.0, "low": 0.9, "high": 1.1, "label": list("aaabb")})
    ax = against(table, x="x", hue="label", colours=dict.fromkeys("ab", (0.0, 0.0, 0.0)))
    a, b = (handle.get_xdata().tolist() for handle in ax.get_legend_handles_labels()[0])
    assert [a[0], a[2], b[1]] == [1, 10, 3] and a[1] < 2 < b[0]


@pytest.mark.parametrize(("values", "scale"), [([1, 9.9], "linear"), ([1, 10], "log"), ([0, 10], "linear")])
def test_values_that_span_a_decade_have_a_logarithmic_axis(values: list[float], scale: str) -> None:
    table = pd.DataFrame({"x": values, "mean": [1.0, 2], "low": math.nan, "high": math.nan, "label": "a"})
    assert against(table, x="x", hue="label", colours={"a": (0, 0, 0)}).get_xscale() == scale


def test_the_axis_follows_the_points() -> None:
    low, high = limits([90, 92], [89, 93]) or (0, 0)
    assert 88.5 < low < 89 and 93 < high < 93.5  # intervals of twice the points' range are shown
    low, high = limits([90, 92], [50, 130]) or (0, 0)
    assert 87.5 < low < 88 and 94 < high < 94.5  # but these would squash the points
    assert limits([50, 99], [40, 120], (0, 100)) == (pytest.approx(36), 100)
    assert limits([], []) is None and limits([math.nan], [1.0]) is None
    low, high = limits([5.0, 5.0], []) or (0, 0)
    assert low < 5 < high
    low, high = limits([1.0, math.inf, 2.0], [math.nan]) or (0, 0)
    assert 0.5 < low < 1 and 2 < high < 2.5


def test_a_run_that_diverged_does_not_squash_the_others_and_is_named() -> None:
    points = [97 + 0.01 * place for place in range(30)] + [50.58]
    shown = limits(points, [50.0, 97.5], strays=True)
    assert shown is not None and 96 < shown[0] < 97 and 97.29 < shown[1] < 98
    assert limits(points, [], strays=False) == pytest.approx((50.58 - 0.05 * 46.71, 97.29 + 0.05 * 46.71))
    ax = Figure().subplots()
    say_cut(ax, [50.0, 97.1], shown, points)
    assert [text.get_text() for text in ax.texts] == ["1 outside: 50.58; intervals go on outside"]


def test_where_there_is_no_interval_none_goes_on_outside() -> None:
    ax = Figure().subplots()
    say_cut(ax, [math.nan, math.nan], (96, 98), [97.0])
    assert not ax.texts


def test_points_of_one_cloud_are_all_shown() -> None:
    points = list(np.random.default_rng(0).standard_t(4, size=200))
    shown = limits(points, [], strays=True)
    assert shown is not None and shown[0] < min(points) and shown[1] > max(points)
