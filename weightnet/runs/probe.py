"""Whether the machines that execute runs in one place see each other's locks.

Some disks' locks are those of one machine (NFS with local_lock, Lustre without flock, some GPFS), and leases say
nothing there. So whoever executes runs besides others holds a lock that beats: a file which it keeps changing. Who sees
such a file change, and its lock free, knows that locks lie. It takes no clock, and no word of who is alive.
"""

import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from weightnet.plain import printable, read_text
from weightnet.runs.folder import LOCKS
from weightnet.runs.lease import Lease, is_held

BEAT = 4.0  # seconds
MOST_BYTES = 1000


class Probe:
    """One process's lock that beats, as long as the context lasts."""

    def __init__(self, runs: Path) -> None:
        """Name it, in the folder of all runs."""
        self.folder = runs / LOCKS / ".probes"
        self.path = self.folder / f"{socket.gethostname()}-{os.getpid()}-{time.time_ns()}"
        self.lease = Lease(self.path.with_name(f".{self.path.name}"))  # its name until it is held
        self.ended = threading.Event()

    def __enter__(self) -> "Probe":
        """OSError: it cannot be made."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lease.acquire(wait=False)
        self._beat(0)
        self.lease.path.rename(self.path)
        threading.Thread(target=self._go_on, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.ended.set()
        with suppress(OSError):
            self.path.unlink()
        self.lease.release()

    def contradiction(self) -> str:
        """Say whose lock is not seen from here though it beats, and what to do; "" where all are seen.

        Takes no time where all are held; some beats where there is a free one, which is removed if nobody beats it.
        """
        others = [path for path in self.folder.glob("[!.]*") if path != self.path]
        free = {path: _read(path) for path in others if not is_held(path)}
        if free:
            time.sleep(3 * BEAT)
        for path, before in free.items():
            now = _read(path)
            if now != before and now and not is_held(path):
                return (
                    f"{socket.gethostname()} does not see a lock that {printable(now).partition(' ')[0]} holds in "
                    f"{self.folder}: the locks of this disk are each machine's own, and runs would be executed twice; "
                    "put outputs= on a disk that shares them (NFS without local_lock, Lustre with flock), or run on "
                    "one machine with hydra/launcher=local"
                )
            if now == before:
                with suppress(OSError):
                    path.unlink()
        return ""

    def _beat(self, number: int) -> None:
        with suppress(OSError):  # a full disk: the lock is held all the same
            os.pwrite(self.lease.file, f"{socket.gethostname()} {number:012}\n".encode(), 0)

    def _go_on(self) -> None:
        number = 0
        while not self.ended.wait(BEAT):
            self._beat(number := number + 1)


def _read(path: Path) -> str:
    try:
        return read_text(path, MOST_BYTES)
    except (OSError, ValueError):
        return ""
