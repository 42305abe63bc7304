"""The sweep's side of workers that Slurm starts: submits them, shows how far their runs are, submits them again.

It executes nothing, and what it knows of runs it reads from their folders. So it may end at any time, be asked again,
and find the workers that are still at it.
"""

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
from weightnet.runs.folder import LOCKS
from weightnet.runs.probe import Probe
from weightnet.sweep import slurm
from weightnet.sweep.crew import Crew, crew_at_work, new_crew
from weightnet.sweep.display import Display
from weightnet.sweep.engine import Outcome, Task
from weightnet.sweep.interrupt import noted, ours

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
        UserError: Slurm does not answer, or refuses the workers, or earlier ones execute the same runs with other code.
        RunFailed: workers end again and again, are cancelled, or see no common locks.
        KeyboardInterrupt: by then the workers have left, or it was said that they go on.
    """
    if not tasks:
        return []
    try:
        crew = crew_at_work(tasks) or new_crew(sweep, tasks)
    except RunFailed as error:
        raise UserError(f"hydra/launcher=slurm: Slurm does not answer ({error}); nothing was submitted") from None
    with Probe(crew.handover.folders[0].path.parent), noted(*ours()) as signals:
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


def _later(tasks: Sequence[Task]) -> str:
    """Say what the same command does once no worker is at it."""
    return f"the same command goes on{' (rerun=all: starts anew)' if tasks[0].anew else ''}"


class _Watch:
    """Follows a crew until all tasks have ended."""

    def __init__(self, crew: Crew, options: slurm.Options, title: str, signals: Sequence[int]) -> None:
        self.crew, self.options, self.title, self.signals = crew, options, title, signals
        self.tasks, self.handover = crew.handover.tasks, crew.handover
        self.ended: dict[int, Outcome] = {}
        self.running = set[int]()
        self.fruitless, self.ended_before, self.unheard = 0, 0, 0
        self.said, self.refused = "", set[str]()
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
            if worker not in self.refused:
                self.refused.add(worker)
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


def _names(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()


def _say(text: str) -> None:
    print(f"weightnet: {text}", file=sys.stderr, flush=True)
