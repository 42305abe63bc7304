"""What a sweep in stages asks: can it be looked at as planned; between two stages, what is decided, or was reached."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from analysis.choice import check_choice, validated
from analysis.experiments import Experiment, of_plan
from analysis.load import Runs, load_runs, refuse_mixture
from analysis.looks import level_of_looks
from analysis.metrics import VALIDATION, known_metrics
from analysis.reference import partners
from analysis.selection import select
from analysis.stats import decidable
from analysis.study import decided_arms
from weightnet.errors import UserError
from weightnet.sweep.plan import Job, Plan


def check(plan: Plan) -> None:
    """Refuse what cannot be looked at as a plan says, whatever its runs will give.

    UserError: an arm has no baseline, or more than one; the first look is too early; the primary outcome is none that
    these runs have; or no value can be chosen as is asked for.
    """
    experiment = of_plan(plan)
    check_choice(experiment)
    _check_primary(experiment, plan)
    if plan.search and not all(job.config.train.validation for job in plan.jobs):
        raise UserError("hydra.sweeper.search: the runs must have a validation split, as by train.validation=1000")
    epochs = min(job.config.train.epochs for job in plan.jobs)
    if (plan.looks or plan.search) and experiment.primary.epochs > epochs:
        raise UserError(f"analysis.primary={experiment.primary}: takes {experiment.primary.epochs} epochs, and these "
                        f"runs have {epochs}")  # fmt: skip
    if not plan.looks:
        return
    if experiment.choose:
        raise UserError("hydra.sweeper.looks and analysis.choose exclude one another: which value is best may change "
                        "from look to look")  # fmt: skip
    sizes, names = [len(seeds) for seeds in plan.looks], experiment.labels()
    pairs = partners(experiment.arms, experiment.swept, "baseline")
    if wrong := [key for key, others in pairs.items() if len(others) != 1] or list(names)[: not pairs]:
        found = len(pairs.get(wrong[0], ()))
        raise UserError(f"hydra.sweeper.looks: each arm is compared with one arm of model=baseline, and "
                        f"'{names[wrong[0]]}' has {found} here")  # fmt: skip
    family = max(Counter(experiment.arms[key].dataset for key in pairs).values())
    if sizes[0] < (fewest := decidable(level_of_looks(sizes, family))):
        raise UserError(f"hydra.sweeper.looks={sizes}: {sizes[0]} seeds can decide nothing; the first look must be at "
                        f"{fewest} or more")  # fmt: skip


def _check_primary(experiment: Experiment, plan: Plan) -> None:
    primary = experiment.primary
    for config in (job.config for job in plan.jobs):
        there = [*known_metrics(), *([VALIDATION.column, "validation_loss"] if config.train.validation else []),
                 *config.eval.metrics]  # fmt: skip
        if primary.metric.column.partition(".")[0] not in there:  # an own one may have several values: recall.8
            raise UserError(f"analysis.primary={primary}: must be of a metric of these runs: {', '.join(there)}")


def decided(plan: Plan, seeds: Sequence[int], outputs: Path) -> dict[str, str]:
    """Return which arms of a plan its runs of these seeds, those of a look, have decided, in words.

    They are compared with the baseline, which is decided when all are that are compared with it.

    UserError: the runs cannot be compared.
    """
    experiment = of_plan(plan)
    loaded, runs = _load(experiment, [job for job in plan.jobs if job.config.seed in seeds], outputs)
    return decided_arms(experiment, runs, loaded)


def reached(plan: Plan, jobs: Sequence[Job], outputs: Path) -> dict[str, float]:
    """Return arm -> its validation accuracy in %, the mean of its jobs, of the arms all of whose jobs here are done.

    It is that of the epochs of the primary outcome. What the test split gave is not asked.

    UserError: the runs cannot be compared.
    """
    experiment, asked = of_plan(replace(plan, jobs=list(jobs))), Counter(job.arm for job in jobs)
    loaded, runs = _load(experiment, jobs, outputs)
    found = validated(runs, loaded.epochs[loaded.epochs["run"].isin(runs["run"])], experiment.primary)
    return {str(arm): float(row["mean"]) for arm, row in found.iterrows() if row["count"] == asked[str(arm)]}


def _load(experiment: Experiment, jobs: Sequence[Job], outputs: Path) -> tuple[Runs, pd.DataFrame]:
    loaded = load_runs(outputs, [job.id for job in jobs])
    runs = select(experiment, loaded.runs)
    refuse_mixture(runs)
    return loaded, runs
