"""The workers that Slurm starts for one sweep: who they are, whether some are at its runs already, and more of them."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from weightnet.errors import UserError
from weightnet.experiment import run_folder
from weightnet.sweep import slurm
from weightnet.sweep.engine import Task
from weightnet.sweep.estimate import estimate
from weightnet.sweep.handover import NAME, Handover, codes, hand_over, read_handover
from weightnet.sweep.workers import default_processes


class Crew:
    """The workers of one folder (`weightnet.sweep.handover`), of one submission or several."""

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


def crew_at_work(tasks: Sequence[Task]) -> Crew | None:
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
            return Crew(Handover(folder, [theirs.tasks[index] for index in ours]), numbers)
    return None


def _ways(tasks: Sequence[Task]) -> set[tuple[bool, int | None]]:
    """Return what is done with runs: one way in a sweep."""
    return {(task.anew, task.verify_epochs) for task in tasks}


def new_crew(sweep: Path, tasks: Sequence[Task]) -> Crew:
    """Hand tasks over, in a folder of a sweep's own, and return the crew that has no worker yet; as `hand_over`."""
    # a sweep in stages has several
    stages = (f"{NAME}-{number}" if number > 1 else NAME for number in itertools.count(1))
    folder = next(path for name in stages if not (path := sweep.absolute() / name).exists())
    return Crew(hand_over(folder, tasks), [])
