"""What a sweep in stages asks between two of them: which arms are decided, so that their other seeds need not run."""

from collections import Counter
from pathlib import Path

from analysis.arms import partners
from analysis.choice import check_choice
from analysis.experiments import of_plan
from analysis.load import load_runs, refuse_mixture
from analysis.looks import level_of_looks
from analysis.stats import decidable
from analysis.study import Options, compare_arms, decided_arms, select
from weightnet.errors import UserError
from weightnet.sweep.plan import Plan


def decided(plan: Plan, outputs: Path) -> dict[str, str]:
    """Return the arms of a plan with looks that its runs have decided so far, by the primary outcome, in words.

    They are compared with the baseline, which is decided when all are that are compared with it.

    Raises:
        UserError: an arm has no baseline, or more than one; the first look is too early; the runs that are there cannot
            be compared; or no value can be chosen as is asked for.
    """
    experiment, sizes = of_plan(plan), [len(seeds) for seeds in plan.looks]
    check_choice(experiment)
    if not sizes:
        return {}
    pairs, names = partners(experiment.arms, experiment.swept, "baseline"), experiment.labels()
    if wrong := [key for key, others in pairs.items() if len(others) != 1] or list(names)[: not pairs]:
        found = len(pairs.get(wrong[0], ()))
        raise UserError(f"hydra.sweeper.looks: each arm is compared with one arm of model=baseline, and "
                        f"'{names[wrong[0]]}' has {found} here")  # fmt: skip
    family = max(Counter(experiment.arms[key].dataset for key in pairs).values())
    if sizes[0] < (fewest := decidable(level_of_looks(sizes, family))):
        raise UserError(f"hydra.sweeper.looks={sizes}: {sizes[0]} seeds can decide nothing; the first look must be at "
                        f"{fewest} or more")  # fmt: skip
    loaded = load_runs(outputs, experiment.runs)
    runs = select(experiment, loaded.runs)
    if runs.empty:
        return {}
    refuse_mixture(runs)
    epochs = loaded.epochs[loaded.epochs["run"].isin(runs["run"])]
    runs = experiment.primary.put(runs, epochs, loaded.own)
    return decided_arms(experiment, compare_arms(runs, experiment, experiment.primary, Options()))
