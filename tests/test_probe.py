import time
from pathlib import Path

import pytest

from weightnet.runs import probe
from weightnet.runs.lease import Lease
from weightnet.runs.probe import Probe


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "BEAT", 0.1)


def test_locks_that_are_seen(tmp_path: Path) -> None:
    with Probe(tmp_path) as first:
        assert first.contradiction() == ""
        with Probe(tmp_path) as second:
            began = time.monotonic()
            assert first.contradiction() == second.contradiction() == ""
            assert time.monotonic() - began < 0.3  # nobody had to be listened to
    assert not list(first.folder.iterdir())


def test_a_lock_that_is_not_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "is_held", lambda path: False)  # as on a disk whose locks are each machine's own
    with Probe(tmp_path) as here, Probe(tmp_path):
        why = here.contradiction()
        assert "does not see a lock that" in why and f"{here.folder}" in why and "\n" not in why


def test_what_the_dead_left_says_nothing_and_is_removed(tmp_path: Path) -> None:
    with Probe(tmp_path) as here:
        (here.folder / "dead").write_text("n1 000000000007\n")
        (here.folder / "damaged").write_bytes(b"\xff" * 2000)
        assert here.contradiction() == ""
        assert [path.name for path in here.folder.iterdir()] == [here.path.name]


def test_whoever_leaves_meanwhile_is_no_contradiction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Probe(tmp_path) as here:
        left = here.folder / "left"
        left.write_text("n1 000000000001\n")
        monkeypatch.setattr(time, "sleep", lambda seconds: left.unlink())
        assert here.contradiction() == ""


def test_a_lock_that_was_only_being_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Probe(tmp_path) as here:
        path = here.folder / "new"
        path.write_text("")
        lease = Lease(path)

        def meanwhile(seconds: float) -> None:
            lease.acquire(wait=False)
            path.write_text("n1 000000000000\n")

        monkeypatch.setattr(time, "sleep", meanwhile)
        assert here.contradiction() == ""
        lease.release()
