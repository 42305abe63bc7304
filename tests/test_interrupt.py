import signal
import threading

import pytest

from weightnet.sweep.interrupt import finish_epoch_on_ctrl_c


def test_once_asks_twice_stops(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    with finish_epoch_on_ctrl_c() as pressed:
        assert not pressed()
        signal.raise_signal(signal.SIGINT)
        assert pressed()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before
    assert capsys.readouterr().err.count("finishing the epoch; Ctrl-C again stops now") == 1


def test_another_thread_is_never_interrupted() -> None:
    seen: list[bool] = []

    def body() -> None:
        with finish_epoch_on_ctrl_c() as pressed:
            seen.append(pressed())

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [False]
