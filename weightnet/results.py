"""What runs have given, from Python: their files as frames and figures (`analysis`), and the trained network."""

import html
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from weightnet.config import Config
from weightnet.errors import RunFailed, UserError
from weightnet.experiment import forget_own_code
from weightnet.own import is_own, named
from weightnet.plain import open_file
from weightnet.runs.folder import RunFolder
from weightnet.runs.history import METRICS, STEPS, read_steps

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from torch import Tensor

    from analysis import load as frames
    from analysis.experiments import Experiment
    from analysis.study import Study
    from weightnet.net.model import WeightNet


@dataclass(frozen=True)
class Run:
    """One run. Its files are read, and checked, when they are asked for.

    RunFailed: they cannot be read, or are not those that it left.
    """

    folder: Path

    @property
    def id(self) -> str:
        """The name of its folder."""
        return self.folder.name

    @property
    def config(self) -> Config:
        """What it was run with, nothing left open."""
        return self._read().configs[self.id]

    @property
    def metrics(self) -> "pd.DataFrame":
        """A row an epoch: `epoch`, `step`, losses in nats, `test_accuracy` in [0, 1], `seconds`, own metrics; and with
        feedback its length `me_norm` at the end of the epoch, and that of its change, `me_change`.
        """
        loaded = self._read()
        columns = [*METRICS, *loaded.own, *(["me_norm", "me_change"] if loaded.epochs["me_norm"].notna().any() else [])]
        return loaded.epochs[columns]

    @property
    def steps(self) -> "pd.DataFrame":
        """A row every `train.log_interval` steps: `step`, `loss` in nats."""
        import pandas as pd

        self._read()
        try:
            rows = read_steps(self.folder / "steps.csv")
        except (OSError, ValueError) as error:
            raise RunFailed(f"{self.id}: {error}") from None
        return pd.DataFrame(rows, columns=list(STEPS)).astype({"step": int})

    def model(self, *, execute: bool = False) -> "WeightNet":
        """Return the trained network, on the CPU, in evaluation mode: from normalised images (N, C, H, W) to logits.

        The run must have been asked for with `train.save_model=true` (one that is done already is replayed for it).

        UserError: it was not; or its feedback is own code that nobody but its files has named in this process, and that
        is executed only if `execute` says so.
        """
        loaded = self._read()
        config, why = loaded.configs[self.id], loaded.runs["why"].iloc[0]
        if is_own(config.model.feedback) and config.model.feedback not in named and not execute:
            raise UserError(
                f"{self.id}: its config.yaml names code, {config.model.feedback}; model(execute=True) executes it"
            )
        if RunFolder(self.folder).lacks(["model.pt"]):
            raise UserError(
                f"{self.id}: has no model.pt; run it with train.save_model=true, which replays it if it is done"
            )
        if why:
            print(f"{self.id}: stale: {why}", file=sys.stderr)
        import torch

        from weightnet.net.model import WeightNet

        forget_own_code()
        try:
            with open_file(self.folder / "model.pt") as file:
                state = torch.load(file, map_location="cpu", weights_only=True)
            model = WeightNet(replace(config, device="cpu"))
            model.load_state_dict(state)
        except UserError:
            raise
        except Exception as error:  # torch raises a dozen kinds
            said = str(error).partition("\n")[0]
            raise RunFailed(f"{self.id}: model.pt cannot be loaded ({type(error).__name__}: {said})") from None
        return model.eval()

    def feedback(self, *, execute: bool = False) -> "Tensor | None":
        """Return the vector (dx,) that the trained network feeds back, None without feedback; see `model`."""
        return self.model(execute=execute).me()

    def _read(self) -> "frames.Runs":
        from analysis.load import load_runs

        loaded = load_runs(self.folder.parent.parent, [self.id])
        if loaded.runs.empty:
            raise RunFailed(loaded.skipped[0] if loaded.skipped else f"{self.folder}: there is no such run")
        return loaded


@dataclass(frozen=True, repr=False)
class Runs:
    """Several runs, and what they are looked at as. Iterate for each `Run`; a notebook shows the table."""

    loaded: "frames.Runs"
    experiments: "list[Experiment]"
    mixed: bool = False

    @property
    def frame(self) -> "pd.DataFrame":
        """Tidy: a row an epoch of a run, as `analysis.load.Runs.epochs` has it; `accuracy` in %."""
        return self.loaded.epochs

    @property
    def runs(self) -> "pd.DataFrame":
        """A row a run, as `analysis.load.Runs.runs` has it: state, config, last epoch; `accuracy` in %."""
        return self.loaded.runs

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self) -> Iterator[Run]:
        return (Run(Path(path)) for path in self.runs["path"])

    def table(self, *, outcome: str | None = None) -> "pd.DataFrame":
        """Return a row an arm: the mean of the outcome, its 95% t-interval, n. Accuracies are in %.

        `outcome`: METRIC, METRIC:mean:10, ..., as `--outcome` of `python -m analysis`; None: the primary one. The
        errors are those of `analysis.study.gather`, also below.
        """
        from analysis.tables import final_table, headed

        study = self._study(outcome=outcome)
        return headed(final_table(study.runs, study.outcome, searched=study.searched), study.outcome)

    def compare(
        self, reference: str = "baseline", *, outcome: str | None = None, margin: float | None = None
    ) -> "pd.DataFrame":
        """Return a row an arm: the outcome minus that of the reference, paired by seed, and a verdict.

        `reference` is a model; or KEY=VALUE, with which each other value is compared within each model.
        Differences of accuracies, and the margin (None: the experiment's, or the data set's), are in points.
        """
        from analysis.tables import headed

        study = self._study(outcome=outcome, reference=reference, margin=margin)
        assert study.differences is not None
        return headed(study.differences, study.outcome)

    def figure(
        self, kind: str = "", *, outcome: str | None = None, reference: str | None = None, x: str | None = None,
        y: str | None = None,
    ) -> "Figure":  # fmt: skip
        """Return a figure, which a notebook shows: what follows from what was swept, or against the keys x and y.

        `kind`: "final", "differences", "differences-by-epoch" or "feedback", where the runs have it.
        """
        from analysis.figures import figures_of

        drawn = figures_of(self._study(outcome=outcome, reference=reference, x=x, y=y))
        found = {suffix.removeprefix("-").partition("-from-")[0]: figure for suffix, (figure, _) in drawn.items()}
        if kind not in found:
            raise UserError(f"figure({kind!r}): these runs have {', '.join(map(repr, found))}")
        return found[kind]

    def _study(self, **options: "str | float | None") -> "Study":
        from analysis.study import Options, gather

        if len(self.experiments) != 1:
            names = ", ".join(experiment.name for experiment in self.experiments)
            raise UserError(f"these are several experiments; load one of them: {names}")
        return gather(self.experiments[0], self.loaded, Options(mixed=self.mixed, **options))  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return f"{len(self)} run{'' if len(self) == 1 else 's'} below {self.loaded.outputs}"

    def _repr_html_(self) -> str:
        from analysis.tables import final_table, printable

        try:
            study = self._study()
            table = final_table(study.runs, study.outcome, searched=study.searched)
            return str(printable(table, study.outcome).to_html(index=False, border=0))
        except (RunFailed, UserError) as error:
            return html.escape(str(error))
