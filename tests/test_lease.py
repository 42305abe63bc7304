import errno
import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from weightnet.errors import Held
from weightnet.runs.lease import Lease, is_held

HOLD = """
import sys
from pathlib import Path
from weightnet.runs.lease import Lease
with Lease(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lease_is_one_processs_and_ends_with_it(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    assert not is_held(path)
    other = subprocess.Popen([sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout and other.stdout.readline() == b"held\n"
    assert is_held(path)
    with pytest.raises(Held):
        Lease(path).acquire(wait=False)
    other.kill()
    other.communicate()
    assert not is_held(path)
    with Lease(path):
        assert is_held(path)
    assert not is_held(path)


def test_a_lease_on_a_file_that_its_last_holder_removed_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flock, removed = tmp_path / "lease", fcntl.flock, list[int]()

    def remove_first(file: int, how: int) -> None:
        if not removed:
            removed.append(file)
            path.unlink()
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    lease = Lease(path)
    lease.acquire(wait=False)
    assert removed and is_held(path)  # as others see it: by its name
    lease.release()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_a_disk_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def none(file: int, how: int) -> None:
        raise OSError(number, "not here")

    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.raises(OSError, match=r"this disk has no locks \(flock\)"):
        Lease(tmp_path / "lease").acquire(wait=True)
