"""A long attack on sweeps: random processes are stopped by random signals, at random times, in concurrent sweeps.

    python -m benchmarks.soak --minutes 30 --seed 1

Each round has an output folder of its own: sweeps are started and disturbed a few times, then one is left in peace, and
the runs are compared with those of a sweep that nobody disturbed. Lost: a run that is not done then. Repeated: an epoch
whose end was logged twice. Differing: a number in metrics.csv, steps.csv or feedback.csv that is another (`seconds`
aside). Left: processes that are still there. Linux.
"""

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

SWEEP = ["model=baseline,pool,shuffled", "dataset=digits", "seed=1,2", "train.epochs=25", "device=cpu"]
RUNS = 6
SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGSTOP)


def start(outputs: Path, *options: str) -> "subprocess.Popen[bytes]":
    """Start a sweep in a session of its own."""
    command = [sys.executable, "-m", "weightnet", "-m", *SWEEP, f"outputs={outputs}", *options]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def members(session: int) -> list[int]:
    """Return the living processes of a session, itself first."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(path.parent.name))
    return sorted(found)


def disturb(sweeps: "list[subprocess.Popen[bytes]]", chance: random.Random) -> str:
    """Send a signal to a process of a sweep, or to all of them; what is only halted goes on a little later."""
    sweep, number = chance.choice(sweeps), chance.choice(SIGNALS)
    processes = members(sweep.pid)
    if not processes:
        return "ended before"
    victims = processes if chance.random() < 0.3 else [chance.choice(processes)]
    who = "all" if len(victims) > 1 else "sweep" if victims[0] == sweep.pid else "worker"
    _send(victims, number)
    if number == signal.SIGSTOP:
        time.sleep(chance.uniform(0.1, 3))
        _send(victims, signal.SIGCONT)
    return f"{number.name} to {who}"


def _send(processes: list[int], number: int) -> None:
    for process in processes:
        try:
            os.kill(process, number)
        except ProcessLookupError:
            pass


def results(outputs: Path) -> dict[str, dict[str, str]]:
    """Return each finished run's files without seconds."""
    found = {}
    for folder in (outputs / "runs").glob("[!.]*"):
        if '"status": "done"' in (folder / "run.json").read_text():
            texts = {name: folder / name for name in ("metrics.csv", "steps.csv", "feedback.csv")}
            found[folder.name] = {
                name: re.sub(r"(?m),[^,]*$", "", path.read_text()) if name == "metrics.csv" else path.read_text()
                for name, path in texts.items()
                if path.exists()
            }
    return found


def one_round(
    outputs: Path, reference: dict[str, dict[str, str]], chance: random.Random, patience: float
) -> tuple[Counter[str], list[str]]:
    """Disturb sweeps a few times, then let one finish; return what went wrong, and what was done.

    `patience`: seconds after which a sweep hangs.
    """
    said, sessions = [], []
    options = ["hydra.sweeper.rerun=all"] if chance.random() < 0.2 else []
    for _ in range(chance.randint(1, 4)):
        sweeps = [start(outputs, *options) for _ in range(chance.randint(1, 2))]
        sessions += [sweep.pid for sweep in sweeps]
        for _ in range(chance.randint(1, 2)):
            time.sleep(chance.uniform(0.2, 7))
            said.append(disturb(sweeps, chance))
        for sweep in sweeps:
            if chance.random() < 0.5:
                _send(members(sweep.pid), signal.SIGKILL)
            said += _hangs(sweep, patience)
    said += _hangs(start(outputs), patience)
    time.sleep(1)
    made, wrong = results(outputs), Counter[str]()
    wrong["hanging"] = said.count("HANG")
    wrong["lost"] = RUNS - len(made)
    wrong["differing"] = sum(made[run] != reference[run] for run in made)
    for folder in (outputs / "runs").glob("[!.]*"):
        epochs = re.findall(r"epoch (\d+)/", (folder / "run.log").read_text()) if (folder / "run.log").exists() else []
        wrong["repeated"] += sum(count - 1 for count in Counter(epochs).values())
    left = [process for session in sessions for process in members(session)]
    wrong["left"] = len(left)
    said += [Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")[:200] for process in left]
    _send(left, signal.SIGKILL)
    return wrong, said


def _hangs(sweep: subprocess.Popen[bytes], patience: float) -> list[str]:
    """Wait for a sweep; kill one that does not end, and say so."""
    try:
        sweep.wait(timeout=patience)
    except subprocess.TimeoutExpired:
        _send(members(sweep.pid), signal.SIGKILL)
        sweep.wait()
        return ["HANG"]
    return []


def main() -> None:
    """Attack until the time is over, and print the counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance, total, kinds, rounds = random.Random(options.seed), Counter[str](), Counter[str](), 0
    end = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as scratch:
        before = time.monotonic()
        start(Path(scratch, "reference")).wait()
        patience = 120 + 5 * (time.monotonic() - before)  # two sweeps side by side on a machine that others use
        reference = results(Path(scratch, "reference"))
        assert len(reference) == RUNS
        while time.monotonic() < end:
            rounds += 1
            wrong, said = one_round(Path(scratch, str(rounds)), reference, chance, patience)
            total, kinds = total + wrong, kinds + Counter(said)
            if any(wrong.values()):
                print(f"round {rounds}: {dict(+wrong)} after {', '.join(said)}", flush=True)
    counts = ", ".join(f"{kind} {total[kind]}" for kind in ("lost", "repeated", "differing", "hanging", "left"))
    print(f"a sweep counts as hanging after {patience:.0f} s")
    print(f"{rounds} rounds, {sum(kinds.values())} disturbances ({dict(kinds.most_common())}): {counts}")
    raise SystemExit(any(total.values()))


if __name__ == "__main__":
    main()
