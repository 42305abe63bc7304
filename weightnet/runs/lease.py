"""Leases: locks of the operating system (flock). One ends with the process that holds it, however that ends.

They also work between machines that share a disk, where that disk shares locks too; `weightnet.runs.probe` finds out.
"""

import errno
import fcntl
import os
from pathlib import Path
from types import TracebackType

from weightnet.errors import Held
from weightnet.plain import open_file

_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)


class Lease:
    """The lock on a file that is there for nothing else. As a context: waited for and held."""

    def __init__(self, path: Path) -> None:
        """Name the file. It is made when the lock is acquired, in a folder that is there."""
        self.path, self.file = path, -1

    def acquire(self, *, wait: bool) -> None:
        """Take the lock. Held: another process has it, and `wait` is False. OSError: the disk has no locks, or else."""
        while True:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                if _is(file, self.path):
                    self.file = file
                    return
            except BlockingIOError:
                raise Held(self.path.name) from None
            except OSError as error:
                if error.errno in _NO_LOCKS:
                    why = "this disk has no locks (flock), and without them a run may be executed twice"
                    raise OSError(error.errno, why, str(self.path)) from None
                raise
            finally:
                if self.file != file:
                    os.close(file)

    def release(self) -> None:
        """Give the lock back, if it is held."""
        if self.file >= 0:
            os.close(self.file)
            self.file = -1

    def __enter__(self) -> "Lease":
        if self.file < 0:
            self.acquire(wait=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


def _is(file: int, path: Path) -> bool:
    """Tell whether an open file is still the one of that name: its last holder may have removed it."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def is_held(path: Path) -> bool:
    """Tell whether a live process holds the lock. It asks for a shared one: that takes no right to write."""
    try:
        with open_file(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is none, or it is another user's: who wants to have it will hear of it
        return False
    return False
