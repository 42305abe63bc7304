import json
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.load import load_runs
from benchmarks.mutations import FILES, KINDS, mutate, verdict
from benchmarks.sweep_overhead import write_run
from weightnet.config import Config
from weightnet.fingerprint import origins
from weightnet.identity import run_folder
from weightnet.runs import readings as module
from weightnet.runs.folder import RunFolder, State
from weightnet.runs.readings import CACHE, Readings

MakeConfig = Callable[..., Config]


@pytest.fixture
def runs(make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of three finished runs, which count as many, and as settled."""
    monkeypatch.setattr(module, "FEW", 1)
    monkeypatch.setattr(module, "SETTLED", -60)
    module._readings.cache_clear()
    for seed in (1, 2, 3):
        write_run(make_config(seed=seed, epochs=1), ["a=1"])
    return tmp_path / "outputs" / "runs"


def opened(runs: Path) -> Readings:
    """Return what another process would find."""
    found = Readings(runs)
    found.open()
    return found


def folders(runs: Path) -> list[RunFolder]:
    return [RunFolder(path) for path in sorted(runs.glob("digits-*"))]


def read_all(runs: Path) -> list[object]:
    kept = opened(runs)
    found = [kept.of(folder) for folder in folders(runs)]
    kept.save()
    return list(found)


def test_what_is_kept_is_what_the_files_say(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folders(runs)[0].path / "run.log").write_text("a line that changes no result")
    expected = [folder.read() for folder in folders(runs)]
    assert read_all(runs) == expected and (runs / CACHE).exists()
    monkeypatch.setattr(RunFolder, "read", lambda self: pytest.fail(f"{self.path} is read again"))
    assert read_all(runs) == expected
    assert [opened(runs).known(folder) for folder in folders(runs)] == expected


def test_frames_are_the_same_with_and_without_it(runs: Path) -> None:
    loaded = [load_runs(runs.parent) for _ in range(3)]
    module._readings.cache_clear()
    loaded += [load_runs(runs.parent)]
    (runs / CACHE).unlink()
    module._readings.cache_clear()
    loaded += [load_runs(runs.parent)]
    for other in loaded[1:]:
        pd.testing.assert_frame_equal(loaded[0].runs.drop(columns="age"), other.runs.drop(columns="age"))
        pd.testing.assert_frame_equal(loaded[0].epochs.drop(columns="age"), other.epochs.drop(columns="age"))
        assert loaded[0].configs == other.configs and loaded[0].own == other.own


@pytest.mark.parametrize("name", ["run.json", "config.yaml", "metrics.csv", "steps.csv", "feedback.csv"])
@pytest.mark.parametrize("how", ["in place, of the same size and time", "renamed over", "gone"])
def test_a_file_that_changed_is_read_anew(runs: Path, name: str, how: str) -> None:
    read_all(runs)
    path = folders(runs)[0].path / name
    content, times = path.read_bytes(), path.stat()
    if how == "gone":
        path.unlink()
    else:
        target = path if how.startswith("in place") else path.with_name("beside")
        target.write_bytes(bytes([content[0] ^ 1]) + content[1:])
        os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
        target.rename(path)
    kept = opened(runs)
    assert kept.known(folders(runs)[0]) is None
    with pytest.raises((OSError, ValueError)):
        kept.of(folders(runs)[0])
    assert len(load_runs(runs.parent).skipped) == 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(FILES[:-1]), st.sampled_from(KINDS), st.integers(0, 2**32))
def test_a_file_that_is_mutated_after_it_was_read_is_named_or_right(
    runs: Path, tmp_path_factory: pytest.TempPathFactory, name: str, kind: str, seed: int
) -> None:
    right, copy = load_runs(runs.parent), tmp_path_factory.mktemp("copy")
    shutil.copytree(runs, copy / "runs")
    assert len(load_runs(copy).runs) == 3 and (copy / "runs" / CACHE).exists()
    time.sleep(0.02)  # the disk's clock ticks: that is what `SETTLED` is for
    first, second, _ = (folder.path for folder in folders(copy / "runs"))
    mutate(first / name, second / name, kind, random.Random(seed))
    for _ in ("remembered here", "of the file"):
        assert verdict(right, copy, first.name) in ("named", "right")
        module._readings.cache_clear()
    shutil.rmtree(copy)


def test_a_copy_a_link_and_another_folder_are_not_what_was_read(runs: Path) -> None:
    read_all(runs)
    first, second, _ = (folder.path for folder in folders(runs))
    shutil.rmtree(first)
    first.symlink_to(second)
    kept = opened(runs)
    assert kept.known(RunFolder(first)) is None and kept.known(RunFolder(second)) is not None
    shutil.copytree(runs.parent, copy := runs.parent.with_name("copy"), symlinks=True)
    assert not any(opened(copy / "runs").known(folder) for folder in folders(copy / "runs"))


def test_a_file_that_may_change_in_this_moment_is_not_kept(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLED", 60)
    read_all(runs)
    assert not (runs / CACHE).exists()


def test_only_finished_runs_are_kept(runs: Path, make_config: MakeConfig) -> None:
    folder = folders(runs)[0]
    record = folder.record()
    assert record is not None
    record.status = "interrupted"
    folder.write_record(record)
    read_all(runs)
    assert [opened(runs).known(other) is None for other in folders(runs)] == [True, False, False]


@pytest.mark.parametrize("how", ["empty", "half", "a flipped bit", "a folder", "no JSON", "other code", "a pipe"])
def test_a_damaged_file_counts_as_none(runs: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = read_all(runs)
    path = runs / CACHE
    content = path.read_bytes()
    if how == "other code":
        monkeypatch.setattr(module, "_code", lambda: "0")
    elif how in ("a folder", "a pipe"):
        path.unlink()
        path.mkdir() if how == "a folder" else os.mkfifo(path)
    else:
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes({"empty": b"", "half": content[:middle], "no JSON": b"x\n{"}.get(how, flipped))
    assert opened(runs).packed == {} and read_all(runs) == expected
    if how not in ("a folder", "a pipe"):
        assert len(opened(runs).packed) == 3  # whole again


@pytest.mark.parametrize("what", ["numbers", "number", "values", "text", "depth", "status", "metrics", "config"])
def test_nothing_but_what_could_be_a_run_is_taken_from_a_forged_file(runs: Path, what: str) -> None:
    expected = read_all(runs)
    values, packed = json.loads((runs / CACHE).read_text().partition("\n")[2])
    forged: dict[str, object] = {
        "numbers": [values, {run: [stamp, *numbers[:-1]] for run, (stamp, *numbers) in packed.items()}],
        "number": [values, {run: [stamp, 10**9, *numbers[1:]] for run, (stamp, *numbers) in packed.items()}],
        "values": [{}, packed], "text": "values", "depth": json.loads("[" * 500 + "]" * 500),
        "status": [["stopped" if value == "done" else value for value in values], packed],
        "metrics": [[[["1", 2.0]] if isinstance(value, list) and value[:1] and isinstance(value[0], list) else value
                     for value in values], packed],
        "config": [[{"name": 1} if isinstance(value, dict) and "channels" in value else value for value in values],
                   packed],
    }  # fmt: skip
    body = json.dumps(forged[what])
    (runs / CACHE).write_text(f"{module._digest(body)}\n{body}")
    assert read_all(runs) == expected


def test_a_disk_that_refuses_it_does_no_harm(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(module, "write_whole", refuse)
    assert len(read_all(runs)) == 3 and not (runs / CACHE).exists()


def test_runs_that_are_gone_are_forgotten_and_others_kept(runs: Path, make_config: MakeConfig) -> None:
    read_all(runs)
    shutil.rmtree(folders(runs)[0].path)
    write_run(make_config(seed=4, epochs=1), [])
    kept = opened(runs)
    kept.of(folders(runs)[-1])  # the others have not been looked at
    kept.save()
    assert [opened(runs).known(folder) is not None for folder in folders(runs)] == [True] * 3
    assert len(opened(runs).packed) == 3


def test_few_runs_make_no_file(make_config: MakeConfig, tmp_path: Path) -> None:
    write_run(make_config(epochs=1), [])
    load_runs(tmp_path / "outputs")
    assert [path.name for path in (tmp_path / "outputs" / "runs").iterdir()] == [run_folder(make_config(epochs=1)).name]


def test_a_state_is_the_files_however_it_was_read(runs: Path, make_config: MakeConfig) -> None:
    read_all(runs)
    folder, now = folders(runs)[0], next(origins([make_config(epochs=1)]))
    assert folder.state_of(opened(runs).of(folder).record, now, whole=True) == folder.state(now)
    assert folder.state(now).state == State.DONE
