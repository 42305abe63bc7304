import signal
import threading

import pytest

from weightnet.sweep.interrupt import exit_status, finish_epoch_on_signals


def test_once_asks_twice_stops(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    with finish_epoch_on_signals() as pressed:
        assert not pressed()
        signal.raise_signal(signal.SIGINT)
        assert pressed()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before
    assert capsys.readouterr().err.count("finishing the epoch; Ctrl-C again stops now") == 1


def test_the_exit_status_is_that_of_the_signal() -> None:
    with finish_epoch_on_signals() as asked:
        signal.raise_signal(signal.SIGTERM)
        assert asked() and exit_status() == 143


def test_who_ignores_a_hangup_goes_on() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with finish_epoch_on_signals() as asked:
            signal.raise_signal(signal.SIGHUP)
            assert not asked()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_another_thread_is_never_interrupted() -> None:
    seen: list[bool] = []

    def body() -> None:
        with finish_epoch_on_signals() as pressed:
            seen.append(pressed())

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [False]
