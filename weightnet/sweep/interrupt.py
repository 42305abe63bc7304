"""Ctrl-C, SIGTERM, SIGHUP: once, and the running epoch is finished and kept; twice, and everything stops now."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks a process to stop: a person, a queue or container, a terminal that is closed."""

NOTICE = signal.SIGUSR1
"""What a queue tells a worker some time before its time is up."""

received: list[int] = []  # since `plainly` began


def exit_status() -> int:
    """Return the exit status of a process that was stopped: 128 and the signal that asked for it, 130 for Ctrl-C."""
    return 128 + (received[-1] if received else signal.SIGINT)


@contextmanager
def finish_epoch_on_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether one of `SIGNALS` has come; the second raises KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # signals reach the main thread alone
        return
    asked = False

    def on_signal(number: int, frame: object) -> None:
        nonlocal asked
        received.append(number)
        if asked:
            raise KeyboardInterrupt
        asked = True
        if number == signal.SIGHUP:
            _leave_terminal()
        what = "Ctrl-C again" if number == signal.SIGINT else "a second signal"
        with suppress(OSError):
            print(f"\nfinishing the epoch; {what} stops now", file=sys.stderr, flush=True)

    with _handled(ours(), on_signal):
        yield lambda: asked


@contextmanager
def noted(*numbers: int) -> Iterator[list[int]]:
    """Yield the list of those of these signals that have come: they do nothing else meanwhile."""
    came: list[int] = []

    def on_signal(number: int, frame: object) -> None:
        received.append(number)
        came.append(number)
        if number == signal.SIGHUP:
            _leave_terminal()

    with _handled(numbers, on_signal):
        yield came


@contextmanager
def ignored() -> Iterator[None]:
    """Ignore what asks to stop meanwhile: processes that are started inherit that, and leave it to this one."""
    main = threading.current_thread() is threading.main_thread()
    with _handled((*SIGNALS, NOTICE) if main else (), signal.SIG_IGN):
        yield


def ours() -> list[int]:
    """Return those of `SIGNALS` that we react to: nohup and the like ignore SIGHUP, and so do we then."""
    return [number for number in SIGNALS if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN]


@contextmanager
def _handled(numbers: Iterable[int], handler: Callable[[int, object], None] | signal.Handlers) -> Iterator[None]:
    """Have these signals handled so, meanwhile."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, other in before.items():
            signal.signal(number, other)


def _leave_terminal() -> None:
    """Say no more to a terminal that is gone: writing there would be an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            if stream.isatty():
                os.dup2(nowhere, stream.fileno())
