import csv
import io
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightnet.matching import Match, choose, divisors, main, misfit, nearest, pooled_length, solve

# dw, dx, m, n of the 39 lines that the notebook prints for a=160, b=50, c=10, dx in 10..39
NOTEBOOK = """
14 16 88 25; 16 17 59 25; 14 18 89 25; 18 20 45 25; 16 20 60 25; 14 20 90 25; 14 22 91 25; 16 23 61 25; 18 24 46 25;
14 24 92 25; 20 25 37 25; 22 26 31 25; 16 26 62 25; 14 26 93 25; 18 28 47 25; 14 28 94 25; 28 29 21 25; 24 29 27 25;
16 29 63 25; 20 30 38 25; 14 30 95 25; 26 32 24 25; 22 32 32 25; 18 32 48 25; 16 32 64 25; 14 32 96 25; 14 34 97 25;
20 35 39 25; 16 35 65 25; 35 36 98 10; 24 36 28 25; 18 36 49 25; 14 36 98 25; 35 38 99 10; 32 38 18 25; 28 38 22 25;
22 38 33 25; 16 38 66 25; 14 38 99 25
"""
ARGUMENTS = ["--features", "160", "--hidden", "50", "--classes", "10", "--dx", "10", "40"]


def notebook_lines() -> list[str]:
    rows = [tuple(map(int, row.split())) for row in NOTEBOOK.replace("\n", " ").split(";")]
    return [f"dw = {dw}, dx = {dx}, dx-dw = {dx - dw}, m = {m}, n = {n}" for dw, dx, m, n in rows]


def brute_force(a: int, b: int, c: int, lengths: range, low: int) -> list[tuple[int, int, int, int]]:
    """The notebook's search: three loops, float division."""
    found = []
    for dx in lengths:
        for n in range(low, b):
            for m in range(low, a):
                columns, rows = (dx + a) / m, b / n
                if int(columns) == columns and int(rows) == rows:
                    dw = int((columns + c // 2) * rows)
                    if dx - dw > 0:
                        found.append((dw, dx, m, n))
    return found


def test_command_prints_the_notebooks_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(ARGUMENTS) == 0
    assert capsys.readouterr().out.splitlines() == notebook_lines()
    assert len(notebook_lines()) == 39


@given(
    a=st.integers(1, 90), b=st.integers(1, 40), c=st.integers(2, 12), low=st.integers(1, 12),
    start=st.integers(1, 60), count=st.integers(0, 12),
)  # fmt: skip
def test_solve_equals_brute_force(a: int, b: int, c: int, low: int, start: int, count: int) -> None:
    lengths = range(start, start + count)
    found = [(x.dw, x.dx, x.m, x.n) for x in solve(a, b, c, lengths, low)]
    assert found == brute_force(a, b, c, lengths, low)


@given(st.integers(1, 5000))
def test_divisors(number: int) -> None:
    assert divisors(number) == [d for d in range(1, number + 1) if number % d == 0]


def test_cifar_is_solved_in_under_a_second() -> None:
    start = time.perf_counter()
    matches = solve(1250, 500, 10, range(100, 601))
    assert time.perf_counter() - start < 1
    assert Match(dw=430, dx=460, m=45, n=50) in matches


def test_pooled_length_drops_what_is_left_over() -> None:
    # the published MNIST network: 60 rows by 25 are 2, 186 columns by 31 are 6, 10 classes by 2 are 5
    assert pooled_length(26, 31, 25, features=160, hidden=60, classes=10) == (6 + 5) * 2


def test_misfit_names_each_reason() -> None:
    sizes = {"features": 160, "hidden": 50, "classes": 10}
    assert misfit(26, 31, 25, **sizes) is None
    assert misfit(27, 31, 25, **sizes) == "m=31 does not divide 160+27=187"
    assert misfit(26, 31, 20, **sizes) == "n=20 does not divide hidden=50"
    assert "leave no room in dx=15" in (misfit(15, 25, 25, **sizes) or "")


def test_nearest_fit_and_come_in_order_of_distance() -> None:
    found = nearest(26, 30, 25, features=160, hidden=50, classes=10)
    assert len(found) == 3
    assert found[0] == Match(dw=22, dx=26, m=31, n=25)
    assert all(misfit(x.dx, x.m, x.n, features=160, hidden=50, classes=10) is None for x in found)


def test_choose_takes_the_fullest() -> None:
    best = choose(160, 50, 10)
    fills = [dw / dx for dw, dx, _, _ in brute_force(160, 50, 10, range(20, 81), 10)]
    assert best is not None and best.fill == max(fills)


def test_choose_keeps_what_is_given() -> None:
    match = choose(160, 50, 10, dx=26)
    assert match == Match(dw=22, dx=26, m=31, n=25)
    assert choose(160, 53, 10) is None  # 53 is prime: no kernel divides it


def test_sorted_output(capsys: pytest.CaptureFixture[str]) -> None:
    main([*ARGUMENTS, "--sort", "fill", "--csv"])
    fills = [int(row["dw"]) / int(row["dx"]) for row in csv.DictReader(io.StringIO(capsys.readouterr().out))]
    assert len(fills) == 39 and fills == sorted(fills, reverse=True)
    main([*ARGUMENTS, "--sort", "dw"])
    assert capsys.readouterr().out.startswith("dw = 35, ")


def test_kernel_min_widens_the_search(capsys: pytest.CaptureFixture[str]) -> None:
    main([*ARGUMENTS, "--kernel-min", "5", "--csv"])
    rows = [tuple(map(int, line.split(",")[:4])) for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == brute_force(160, 50, 10, range(10, 40), 5)


def test_mistakes_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in (["--dx", "40", "10"], ["--dx", "0", "10"]):
        with pytest.raises(SystemExit) as stopped:
            main([*ARGUMENTS[:6], *wrong])
        assert stopped.value.code == 2
    assert "LOW must be less than HIGH" in capsys.readouterr().err


def test_no_match_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--features", "160", "--hidden", "53", "--dx", "10", "40"])
    output = capsys.readouterr()
    assert output.out == "" and "no exact triple" in output.err
