import io
import sys

import pytest

from weightnet import waiting as module
from weightnet.waiting import waiting


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("patience", "seen"), [(0.0, True), (60.0, False)])
def test_a_terminal_sees_a_bar_of_a_long_wait_alone(
    patience: float, seen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setattr(module, "PATIENCE", patience)
    assert list(waiting((number for number in range(3)), "counting", 3)) == [0, 1, 2]
    assert ("counting:" in terminal.getvalue() and "/3 [" in terminal.getvalue()) == seen
    assert not seen or terminal.getvalue().rpartition("\r")[0].endswith(" ")  # the bar is wiped out


def test_elsewhere_there_are_the_items_alone() -> None:
    assert waiting(items := [1, 2], "counting") is items
