"""weightnet from Python: `weightnet.run`, `weightnet.sweep`, `weightnet.load`.

They take the words of the command line, and do what it does with them: Hydra composes and plans in this process, and
its state is put back afterwards; the workers of a sweep execute, a single run as well. So this process, a notebook's
kernel say, may live long: it is not lost with a run, torch's threads and random state stay its own, own code that has
been edited is executed as it is now, and the next run finds torch imported.
"""

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from weightnet.errors import RunFailed, UserError
from weightnet.experiment import forget_own_code, products
from weightnet.results import Run, Runs
from weightnet.runs.folder import State
from weightnet.sweep.compose import composer
from weightnet.sweep.conf_folders import CONF, offer_own_models
from weightnet.sweep.engine import Task
from weightnet.sweep.mistakes import program, refuse, understood
from weightnet.sweep.plan import make_plan
from weightnet.sweep.states import RERUN, read_states
from weightnet.sweep.workers import execute

__all__ = ["Run", "RunFailed", "Runs", "UserError", "load", "run", "sweep"]

Words = str | Sequence[str]
"""`KEY=VALUE` words as after `python run.py`: in one string, which is split as a shell would, or one by one."""


def run(overrides: Words = ()) -> Run:
    """Execute one run, or go on with it, and return it; one that is done is returned at once.

    `weightnet.run("model=pool dataset=digits train.epochs=2")`

    Raises:
        UserError: what is wrong with the words, in a line; nothing has run then.
        RunFailed: the run failed.
        KeyboardInterrupt: Ctrl-C, or an interrupted kernel: the epoch was finished, and the same call goes on after it.
    """
    with _command(overrides) as words:
        if options := [word for word in words if word.startswith("hydra")]:
            raise UserError(f"{options[0]}: is an option of sweeps: weightnet.sweep(...)")
        with composer(words) as jobs:
            plan = make_plan(jobs)
        if plan.axes:
            several = ", ".join(key for keys in plan.axes for key in keys)
            raise UserError(f"{several}: several values make a sweep: weightnet.sweep({words})")
        ((job, state),) = zip(plan.jobs, read_states(plan.jobs).values(), strict=True)
        if state.state in RERUN["missing"] or job.folder.lacks(products(job.config)):
            (outcome,) = execute([Task(job.config, job.overrides)])
            if outcome.error:
                raise outcome.error
        if state.state == State.STALE:
            anew = f"weightnet.sweep({[*words, 'hydra.sweeper.rerun=stale']}) runs it anew"
            print(f"{job.id}: done already (stale: {state.why}); {anew}", file=sys.stderr)
        return Run(job.folder.path)


def sweep(overrides: Words) -> Runs:
    """Run a sweep, `python run.py -m` with the same words, and return its runs; those that are done are not run again.

    `weightnet.sweep("model=baseline,pool dataset=digits seed=range(1,4)")`, `weightnet.sweep(["experiment=fig1"])`. Its
    records, table and picture are in `<outputs>/sweeps/<time>`. The errors are those of `run`; RunFailed: some failed,
    and `load` has the others.
    """
    from analysis.experiments import asked_for
    from analysis.load import load_runs
    from analysis.records import read_sweep
    from analysis.sweeps import experiments_of
    from weightnet.__main__ import job

    with _command(overrides) as words:
        # hydra.main without its parser, its log and its exit status
        config = GlobalHydra.instance().hydra.multirun(  # type: ignore[union-attr]
            "config", job.__wrapped__, [*words, "hydra.mode=MULTIRUN"], with_log_configuration=False
        )
        if not isinstance(config, DictConfig):
            raise UserError("only hydra/sweeper=study says what it ran; look at it with weightnet.load")
        if (folder := Path(config.hydra.sweep.dir)).is_dir():
            recorded = read_sweep(folder)
            loaded = load_runs(config.outputs, recorded.runs)
            return Runs(loaded, experiments_of(recorded, loaded))
        experiment = asked_for(words)  # of a dry run
        return Runs(load_runs(config.outputs, experiment.runs), [experiment])


def load(outputs: str | Path = "outputs", words: Words = (), *, mixed: bool = False) -> Runs:
    """Return runs below a root of all output, without running anything.

    The words are those of `python -m analysis`: experiments (`load("outputs", "fig1")`; of one seed: all that there
    are), with overrides; or overrides alone: exactly the runs of a sweep with them. None: all runs that are there.
    `mixed`: runs are compared though they are of different code or versions.

    UserError: what is wrong with the words. Folders that cannot be read are named on stderr.
    """
    from analysis.experiments import asked_for, load_drawn, of_configs
    from analysis.load import load_runs, report_skipped
    from analysis.selection import belonging, report_other_seeds

    if not (Path(outputs) / "runs").is_dir():
        raise UserError(f"{outputs}: there are no runs (it has no folder runs)")
    with _command(words) as asked:
        overrides, names = [word for word in asked if "=" in word], [word for word in asked if "=" not in word]
        experiments = [drawn for name in names for drawn in load_drawn(name, overrides)]
        if overrides and not names:
            experiments = [asked_for(overrides)]
    loaded = report_skipped(load_runs(outputs, None if names or not experiments else experiments[0].runs))
    if not experiments:
        return Runs(loaded, [of_configs(str(outputs), loaded.configs)], mixed=mixed)
    for experiment in experiments:
        report_other_seeds(experiment, loaded.runs)
    wanted = {run for experiment in experiments for run in belonging(experiment, loaded.runs)["run"]}
    runs, epochs = (frame[frame["run"].isin(wanted)].reset_index(drop=True) for frame in (loaded.runs, loaded.epochs))
    return Runs(replace(loaded, runs=runs, epochs=epochs), experiments, mixed=mixed)


@contextmanager
def _command(overrides: Words) -> Iterator[list[str]]:
    """Be a command line of these words meanwhile; yield them, one by one."""
    try:
        words = shlex.split(overrides) if isinstance(overrides, str) else list(overrides)
    except ValueError as error:  # half a quotation
        raise UserError(f"{overrides}: {error}") from None
    if flags := [word for word in words if word.startswith("-")]:
        raise UserError(f"{flags[0]}: must be KEY=VALUE; flags are the command line's")
    forget_own_code()
    before, sys.argv = sys.argv, [*shlex.split(program())[-1:], "-m", *words]  # for the records, and what is said
    try:
        with understood(), initialize_config_dir(str(CONF), version_base="1.3"):
            refuse(words)
            offer_own_models(words)
            yield words
    except SystemExit as end:  # of one of Hydra's callbacks, which has said why
        raise (end.__cause__ or end) from None
    finally:
        sys.argv = before
