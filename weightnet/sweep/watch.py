"""The sweep's side of workers that Slurm starts: submits them, shows how far their runs are, submits them again.

It executes nothing, and what it knows of runs it reads from their folders. So it may end at any time, be asked again,
and find the workers that are still at it.
"""

import itertools
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path

from weightnet.errors import RunFailed, UserError
from weightnet.experiment import run_folder
from weightnet.runs.folder import LOCKS
from weightnet.runs.probe import Probe
from weightnet.sweep import slurm
from weightnet.sweep.display import Display
from weightnet.sweep.engine import Outcome, Task
from weightnet.sweep.estimate import estimate
from weightnet.sweep.handover import NAME, Handover, codes, hand_over, read_handover
from weightnet.sweep.interrupt import SIGNALS, noted
from weightnet.sweep.workers import default_processes

LOOK = 1.0  # seconds between two looks at the run folders, or 20 times as long as a look takes
ASK = 10.0  # seconds between two questions to Slurm
MOST_FRUITLESS = 3  # times that workers are submitted again though none of the last ones has finished a run
MOST_UNHEARD = 60  # times in a row that Slurm may refuse to take workers again: 10 minutes


def execute(
    tasks: Sequence[Task], sweep: Path, options: slurm.Options, *, wait: bool = True, title: str = ""
) -> list[Outcome]:
    """Execute tasks by workers that Slurm starts; show them on one display; return one outcome a task.

    `sweep` is the sweep's folder, on a disk that the workers share. Not to `wait` is to return once they are submitted.
    Ctrl-C: workers finish their epochs and leave; twice: they are cancelled. SIGTERM and SIGHUP end this process alone.

    Raises:
        UserError: Slurm refuses the workers, or earlier ones execute the same runs with other code.
        RunFailed: workers end again and again, are cancelled, or see no common locks.
        KeyboardInterrupt: by then the workers have left, or it was said that they go on.
    """
    if not tasks:
        return []
    crew = _at_work(tasks) or _Crew(hand_over(_folder(sweep), tasks), [])
    with Probe(run_folder(crew.handover.tasks[0].config).parent), noted(*_ours()) as signals:
        try:
            crew.fill(options)
        except RunFailed as error:
            if not crew.jobs:
                raise UserError(f"{error}; no worker was submitted") from None
            _say(f"no more workers now ({error})")
        if wait:
            return _Watch(crew, options, title, signals).outcomes()
    print(f"not waiting for them: the same command tells how far they are; later {_later(tasks)}", flush=True)
    return [Outcome(error=CancelledError())] * len(tasks)


def _folder(sweep: Path) -> Path:
    """Return where the next tasks of a sweep are handed over: it has several folders where it runs in stages."""
    stages = (f"{NAME}-{number}" if number > 1 else NAME for number in itertools.count(1))
    return next(path for name in stages if not (path := sweep.absolute() / name).exists())


class _Crew:
    """The workers of one folder."""

    def __init__(self, handover: Handover, jobs: list[str]) -> None:
        """Take what they work at, and the jobs that are at it already."""
        self.handover, self.jobs = handover, jobs
        self.last, self.refused = 0, set[str]()  # how many the last ones are; who had refused before them

    def members(self) -> list[slurm.Worker]:
        """Return the workers that the queue knows, also where sbatch did not say so. RunFailed: no answer."""
        members = [worker for worker in slurm.workers()
                   if worker.job in self.jobs or worker.folder.parent == self.handover.path]  # fmt: skip
        self.jobs += dict.fromkeys(worker.job for worker in members if worker.job not in self.jobs)
        return members

    def refusals(self) -> dict[str, str]:
        """Return of the last workers those that cannot work -> why."""
        return {worker: why for worker, why in self.handover.refusals().items() if worker not in self.refused}

    def fill(self, options: slurm.Options) -> None:
        """Submit as many workers as are lacking for what has not ended, and say so. RunFailed: Slurm takes none."""
        left = [task for index, task in enumerate(self.handover.tasks) if self.handover.outcome(index) is None]
        slots = default_processes(self.handover.tasks[0].config, options.cpus_per_task)
        alive = sum(worker.alive for worker in self.members()) if self.jobs else 0
        self.last, self.refused = alive, set(self.handover.refusals())
        if alive:
            print(f"{_number(alive)} at these runs already ({self})", flush=True)
        if (lacking := min(options.workers, -(-len(left) // slots)) - alive) > 0:
            job = slurm.submit(self.handover.path, options, lacking, notice=_notice(left, options))
            self.jobs.append(job)
            self.last += lacking
            print(f"submitted {_number(lacking)}, job {job}; their logs: {self.handover.path}/worker-*.log", flush=True)

    def __str__(self) -> str:
        return f"job{'s' if len(self.jobs) > 1 else ''} {', '.join(self.jobs)}"


def _number(workers: int) -> str:
    return f"{workers} worker{'s' if workers > 1 else ''}"


def _notice(tasks: Sequence[Task], options: slurm.Options) -> int:
    """Return how many seconds before its end a worker is to be told: enough for two epochs, by the estimate.

    Slurm looks twice a minute, and tells it up to a minute too early: so not less than 30, nor more than half its time.
    """
    configs = [task.config for task in tasks]
    seconds = estimate(configs, Path(configs[0].outputs))
    epoch = max(total / config.train.epochs for total, config in zip(seconds, configs, strict=True))
    minutes = options.timeout_min or 1440
    return int(max(min(30, 15 * minutes), min(2 * epoch, 30 * minutes)))


def _at_work(tasks: Sequence[Task]) -> _Crew | None:
    """Return the crew of an earlier sweep that is at these runs and no others; None: there is none.

    What has ended since is among its tasks, as is a run that it says has failed: so nobody is at that again beside it.
    UserError: one is at some of them with code that has changed since, or does something else with them.
    """
    jobs: dict[Path, list[str]] = {}
    for worker in slurm.workers():
        if worker.alive and worker.job not in jobs.setdefault(worker.folder.parent, []):
            jobs[worker.folder.parent].append(worker.job)
    now = list(codes(tasks))
    for folder, numbers in jobs.items():
        try:
            theirs, then = read_handover(folder)
        except (OSError, ValueError):  # not a sweep's, or of another time
            continue
        places = {run.path: index for index, run in enumerate(theirs.folders)}
        same = [places.get(run_folder(task.config).absolute()) for task in tasks]
        ours = [index for index in same if index is not None]
        if theirs.stop.exists() or all(map(theirs.outcome, ours)):
            continue
        who = f"workers of {folder.parent} (scancel {' '.join(numbers)})"
        if any(index is not None and then[index] != code for index, code in zip(same, now, strict=True)):
            raise UserError(f"{who} execute some of these runs with the code as it was when they were submitted; wait "
                            "for them or cancel them")  # fmt: skip
        if _ways(theirs.tasks) != _ways(tasks):
            raise UserError(f"{who} are at some of these runs with another hydra.sweeper.rerun or verify_epochs; give "
                            "theirs to follow them, or wait for them or cancel them")  # fmt: skip
        others = set(range(len(theirs.tasks))).difference(ours)
        if len(ours) == len(tasks) and all(map(theirs.outcome, others)):
            return _Crew(Handover(folder, [theirs.tasks[index] for index in ours]), numbers)
    return None


def _ways(tasks: Sequence[Task]) -> set[tuple[bool, int | None]]:
    """Return what is done with runs: one way in a sweep."""
    return {(task.anew, task.verify_epochs) for task in tasks}


def _later(tasks: Sequence[Task]) -> str:
    """Say what the same command does once no worker is at it."""
    return f"the same command goes on{' (rerun=all: starts anew)' if tasks[0].anew else ''}"


class _Watch:
    """Follows a crew until all tasks have ended."""

    def __init__(self, crew: _Crew, options: slurm.Options, title: str, signals: Sequence[int]) -> None:
        self.crew, self.options, self.title, self.signals = crew, options, title, signals
        self.tasks, self.handover = crew.handover.tasks, crew.handover
        self.ended: dict[int, Outcome] = {}
        self.running = set[int]()
        self.fruitless, self.ended_before, self.unheard = 0, 0, 0
        self.said, self.refusals = "", dict[str, str]()
        self.next_question = 0.0
        self.reactions = 0  # to how many signals there has been one

    def outcomes(self) -> list[Outcome]:
        """Return one outcome a task; the errors are those of `execute`."""
        with Display(self.tasks, self.title) as display:
            while len(self.ended) < len(self.tasks):
                began = time.monotonic()
                self._look(display)
                took = time.monotonic() - began
                self._react()
                if time.monotonic() >= self.next_question:
                    self._ask(display)
                display.update()
                self._sleep(max(LOOK, 20 * took))
        with suppress(RunFailed):  # those that never came to work; they would find nothing to do
            slurm.cancel(self.crew.jobs, waiting=True)
        return [self.ended[index] for index in range(len(self.tasks))]

    def _sleep(self, seconds: float) -> None:
        """Sleep until a signal comes."""
        until = time.monotonic() + seconds
        while len(self.signals) == self.reactions and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.5))

    def _look(self, display: Display) -> None:
        """Read the run folders: what has ended, what is executed."""
        there = _names(self.handover.path / "ended")
        for runs in {folder.path.parent for folder in self.handover.folders}:
            there |= _names(runs) | _names(runs / LOCKS)
        for index, task in enumerate(self.tasks):
            if index in self.ended or self.handover.ids[index] not in there:
                continue
            outcome, held = self.handover.outcome(index), self.handover.folders[index].is_held()
            if held and index not in self.running:
                self.running.add(index)
                display.started(task)
            if not held and index in self.running:
                self.running.discard(index)
                display.stopped(task)
            if outcome is not None:
                self.running.discard(index)
                self.ended[index] = outcome
                display.ended(task, outcome)

    def _react(self) -> None:
        """Do what the signals ask for, and say what goes on."""
        for number in self.signals[self.reactions :]:
            self.reactions += 1
            if number != signal.SIGINT:
                _say(f"the workers go on ({self.crew}); the same command follows them")
                raise KeyboardInterrupt
            if self.reactions > 2:
                raise KeyboardInterrupt
            try:
                if self.reactions == 1:
                    self.handover.stop.touch()
                    slurm.finish_epochs(self.crew.jobs)
                    _say("the workers finish their epochs and leave; Ctrl-C again cancels them")
                else:
                    slurm.cancel(self.crew.jobs)
                    _say("the workers are cancelled")
            except (OSError, RunFailed) as error:
                _say(f"the workers could not be told ({error}); scancel {' '.join(self.crew.jobs)}")
            self.next_question = 0.0

    def _ask(self, display: Display) -> None:
        """Ask Slurm for the workers; submit others where they have ended, and runs remain that nobody executes."""
        self.next_question = time.monotonic() + (LOOK if self.signals else ASK)
        try:
            members = self.crew.members()
        except RunFailed as error:
            return self._tell(display, f"no word from Slurm ({error})")
        for worker, why in self.handover.refusals().items():
            if self.refusals.setdefault(worker, why) is why:
                _say(f"worker {worker} refuses to work: {why}")
        alive = [worker for worker in members if worker.alive]
        counts = Counter(worker.state.lower() + (f" ({worker.reason})" if worker.state == "PENDING" else "")
                         for worker in alive)  # fmt: skip
        if alive:
            return self._tell(display, ", ".join(f"{number} {state}" for state, number in counts.items()))
        self._look(display)  # what they did last
        if self.signals:
            raise KeyboardInterrupt
        if len(self.ended) + len(self.running) < len(self.tasks):
            return self._submit_again(display, members)
        return self._tell(display, "no workers")

    def _submit_again(self, display: Display, dead: Sequence[slurm.Worker]) -> None:
        """Submit workers for what is left. RunFailed: that would be no use."""
        left = len(self.tasks) - len(self.ended)
        go_on = f"{left} of {len(self.tasks)} runs are left, {_later(self.tasks)}"
        if self.handover.stop.exists():
            raise RunFailed(f"the workers were stopped by another process; {go_on}")
        why = list(self.crew.refusals().values())
        if 0 < self.crew.last <= len(why):
            raise RunFailed(f"no worker can work: {why[0]}; {go_on} once that is mended")
        if dead and all(worker.state == "CANCELLED" for worker in dead):
            raise RunFailed(f"the workers were cancelled; {go_on}")
        fruitless = self.fruitless + 1 if len(self.ended) == self.ended_before else 0
        if fruitless > MOST_FRUITLESS:
            raise RunFailed(f"workers ended {fruitless} times in a row and finished no run; their logs are "
                            f"{self.handover.path}/worker-*.log; {go_on} once that is mended")  # fmt: skip
        states = ", ".join(sorted({worker.state.lower() for worker in dead})) or "unknown to Slurm by now"
        if not self.unheard:
            print(f"no worker is left ({states}), {left} of {len(self.tasks)} runs are", flush=True)
        try:
            self.crew.fill(self.options)
        except RunFailed as error:
            self.unheard += 1
            if self.unheard > MOST_UNHEARD:
                raise RunFailed(f"Slurm takes no workers any more ({error}); {go_on}") from None
            return self._tell(display, f"no workers; Slurm takes none now, and is asked again ({error})")
        self.fruitless, self.ended_before, self.unheard = fruitless, len(self.ended), 0
        return None

    def _tell(self, display: Display, queue: str) -> None:
        """Show where the workers stand; elsewhere than on a terminal, when that changes."""
        display.title = f"{self.title}\n{self.crew}: {queue}"
        if queue != self.said and not display.live:
            print(f"{self.crew}: {queue}", flush=True)
        self.said = queue


def _ours() -> list[int]:
    """Return the signals that we react to: nohup and the like ignore SIGHUP, and so do we then."""
    return [number for number in SIGNALS if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN]


def _names(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()


def _say(text: str) -> None:
    print(f"weightnet: {text}", file=sys.stderr, flush=True)
