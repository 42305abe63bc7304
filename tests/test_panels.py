from matplotlib.figure import Figure

from analysis.panels import share_legend


def test_a_legend_below_has_as_many_columns_as_there_is_room_for() -> None:
    rows = []
    for label in ("{}", "pool, fill=1, gain={} (n=20)", "a label that is about as long as the figure is wide, no. {}"):
        figure = Figure(figsize=(6.4, 4), layout="constrained")
        ax = figure.subplots()
        for number in range(6):
            ax.plot([0, 1], [number, number], label=label.format(number))
        ax.legend()
        share_legend(figure, [ax], inside=False)
        (legend,) = figure.legends
        box = legend.get_window_extent()
        assert box.width <= figure.bbox.width and len(legend.get_texts()) == 6 and ax.get_legend() is None
        rows.append(box.height)
    assert rows == sorted(set(rows))  # 3 columns, 2, 1
