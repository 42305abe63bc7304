import math

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep

from weightnet.errors import UserError
from weightnet.sweep.interval import Interval, read_interval


def read(line: str, *, whole: bool = False) -> Interval:
    (override,) = OverridesParser.create().parse_overrides([line])
    asked = override.value()
    assert isinstance(asked, IntervalSweep)
    return read_interval(override.get_key_element(), asked, line, whole=whole)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("train.lr=interval(0,1)", Interval(0.0, 1.0, log=False, whole=False)),
        ("train.lr=tag(log,interval(1e-3,1))", Interval(0.001, 1.0, log=True, whole=False)),
        ("train.epochs=int(interval(16,128))", Interval(16, 128, log=False, whole=True)),
        ("train.epochs=tag(log,int,interval(16,128))", Interval(16, 128, log=True, whole=True)),
    ],
)
def test_hydras_intervals_are_read(line: str, expected: Interval) -> None:
    assert read(line) == expected and type(read(line).low) is type(expected.low)


def test_a_key_of_whole_numbers_needs_no_tag() -> None:
    assert read("train.batch_size=interval(16,128)", whole=True) == Interval(16, 128, log=False, whole=True)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("train.lr=tag(log,interval(0,1))", "a log interval must begin above 0"),
        ("train.lr=interval(1,1)", "the first one less than the second one"),
        ("train.lr=interval(0,inf)", "the first one less than the second one"),
        ("train.lr=interval(nan,1)", "the first one less than the second one"),
        ("train.lr=tag(lin,interval(0,1))", "has the tags log and int, not lin"),
        ("train.batch_size=tag(int,interval(1.5,9))", "must have whole ends"),
        ("seed=interval(1,9)", "seed is not searched by an interval"),
        ("dims.dx=int(interval(1,9))", "dims.dx is not searched by an interval"),
        ("++train.validation=interval(1,9)", "train.validation is not searched by an interval"),
    ],
)
def test_what_cannot_be_searched_is_refused(line: str, wrong: str) -> None:
    with pytest.raises(UserError) as caught:
        read(line)
    assert str(caught.value).startswith(f"{line}: ") and wrong in str(caught.value)


def test_values_are_readable_and_within_the_interval() -> None:
    rate = Interval(0.001, 1.0, log=True, whole=False)
    assert [rate.at(share) for share in (0, 0.25, 0.5, 1)] == [0.001, 0.005623, 0.03162, 1.0]
    assert rate.share(0.1) == pytest.approx(math.log(100) / math.log(1000))
    size = Interval(16, 128, log=False, whole=True)
    assert [size.at(share) for share in (0, 0.5, 0.51, 1)] == [16, 72, 73, 128]
    narrow = Interval(1000.0, 1000.5, log=False, whole=False)
    assert len({narrow.at(share / 50) for share in range(51)}) == 51
    assert Interval(0.12354, 0.9, log=False, whole=False).at(0) == 0.12354  # not 0.1235, below it


def test_what_is_near_an_end_on_the_intervals_scale_lies_at_it() -> None:
    rate = Interval(0.001, 1.0, log=True, whole=False)
    assert [rate.end_near(value) for value in (0.0014, 0.0015, 0.7, 0.71)] == ["lower", "", "", "upper"]
    assert Interval(0.001, 1.0, log=False, whole=False).end_near(0.04) == "lower"
