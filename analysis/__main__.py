"""The command line of analysis: `python -m analysis --help`."""

import argparse
import math
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from analysis import tables
from analysis.experiments import Experiment, asked_for, experiment_names, load_drawn, load_experiment
from analysis.live import watch
from analysis.load import Runs, load_runs, refuse_mixture, report_skipped, report_stale
from analysis.metrics import DEFAULT, read_outcome
from analysis.records import Sweep, last_sweep, read_sweep, sweeps
from analysis.selection import belonging
from analysis.status import show
from analysis.study import Options, Study, gather_drawn
from analysis.sweeps import draw_sweep, experiments_of
from analysis.tables import final_table
from weightnet.errors import ArgumentParser, RunFailed, UserError
from weightnet.plain import printable
from weightnet.sweep.mistakes import explain, plainly

PROGRAM = "python -m analysis"


def _sweep(options: argparse.Namespace) -> Sweep | None:
    """Return the last sweep where nothing else is asked for; UserError: an option is impossible."""
    if options.margin is not None and not 0 < options.margin < math.inf:
        raise UserError(f"--margin={options.margin:g}: must be greater than 0, and finite")
    return None if options.names else last_sweep(Path(options.outputs))


def _studies(options: argparse.Namespace, sweep: Sweep | None) -> list[Study]:
    """Gather what is asked for."""
    loaded, asked = _asked(options, sweep)
    studies: list[Study] = []
    for name, experiments in asked:
        try:
            studies += gather_drawn(experiments, loaded, _shown(options))
        except RunFailed as error:
            raise RunFailed(f"{error}{_as_it_was_run(name, loaded, options) if name else ''}") from None
    return studies


def _shown(options: argparse.Namespace) -> Options:
    given: dict[str, Any] = {key.name: getattr(options, key.name, None) for key in fields(Options)}
    return Options(**given)


def _asked(options: argparse.Namespace, sweep: Sweep | None) -> tuple[Runs, list[tuple[str, list[Experiment]]]]:
    """Return runs, and whose they are: the names that are given, each with the experiments that it draws.

    Else, named "", what overrides ask for; else the sweep.
    """
    names = [word for word in options.names if "=" not in word]
    overrides = [word for word in options.names if "=" in word]
    config_dir = options.config_dir
    if names:
        experiment_names(config_dir, asked=names)  # says which are broken
        loaded = report_skipped(load_runs(options.outputs))
        return loaded, [(name, load_drawn(name, overrides, config_dir=config_dir)) for name in names]
    if overrides:
        experiment = asked_for(overrides, config_dir=config_dir)
        return report_skipped(load_runs(options.outputs, experiment.runs)), [("", [experiment])]
    if sweep:
        loaded = report_skipped(load_runs(options.outputs, sweep.runs))
        return loaded, [("", experiments_of(sweep, loaded, config_dir=config_dir))]
    if options.reference:
        raise UserError(f"--reference={options.reference}: name the experiment whose arms are compared")
    runs = load_runs(options.outputs).runs
    there = [name for name in experiment_names(config_dir) if _has_runs(name, runs, config_dir)] if len(runs) else []
    known = f"experiments that have runs: {', '.join(there)}" if there else "no experiment has runs either"
    raise RunFailed(f"no sweep in {options.outputs}/sweeps; {known}")


def _as_it_was_run(name: str, loaded: Runs, options: argparse.Namespace) -> str:
    """Say how the last sweep of an experiment that has finished or running runs is looked at, "" if there is none."""
    there = set(loaded.runs.loc[loaded.runs["status"].isin(["done", "running"]), "run"])
    asked = f"experiment={name}"
    for sweep in sweeps(loaded.outputs):
        if asked in sweep.overrides and there.intersection(sweep.runs):
            words = [word for word in sweep.overrides if word != asked and not word.startswith("outputs=")]
            flags = [f"--config-dir={options.config_dir}"] if options.config_dir else []
            root = [f"outputs={options.outputs}"] if options.outputs != "outputs" else []
            again = shlex.join([*PROGRAM.split(), options.word, name, *words, *root, *flags])
            return f"; what has been run of it: {printable(again)}"
    return ""


def _has_runs(name: str, runs: pd.DataFrame, config_dir: str | None) -> bool:
    try:
        return len(belonging(load_experiment(name, config_dir=config_dir), runs)) > 0
    except (UserError, HydraException, OmegaConfBaseException) as error:
        print(f"experiment={name} is broken: {explain(error)}", file=sys.stderr)
        return False


def _figures(options: argparse.Namespace) -> None:
    from analysis.figures import draw  # not above: seaborn takes a second

    sweep = _sweep(options)
    studies = _studies(options, sweep)
    if sweep:
        draw_sweep(sweep, studies, data=options.data)
    else:
        for study in studies:
            draw(study, data=options.data)


def _table(options: argparse.Namespace) -> None:
    sweep, studies = _sweep(options), list[Study]()
    if not (options.names or sweep or options.reference):
        loaded = report_skipped(load_runs(options.outputs))
        report_stale(loaded.runs, "table")
        outcome = read_outcome(options.outcome, "--outcome") if options.outcome else DEFAULT
        runs = outcome.put(loaded.runs, loaded.epochs, loaded.own)
    else:
        studies = _studies(options, sweep)
        runs, outcome = pd.concat([study.runs for study in studies]).drop_duplicates("run"), studies[0].outcome
        if len({study.outcome for study in studies}) > 1:
            raise UserError(f"--outcome: these experiments have different primary ones; give one, such as {outcome}")
    if options.reference:
        if len(studies) > 1:
            raise UserError(f"--reference={options.reference}: name one experiment whose arms are compared")
        table = studies[0].differences
        assert table is not None
    else:
        if not options.mixed:
            refuse_mixture(runs[runs["status"] == "done"])
        table = final_table(runs, outcome, searched=[key for study in studies for key in study.searched])
    print(FORMATS[options.format](table, outcome).rstrip("\n"))


def _report(options: argparse.Namespace) -> None:
    from analysis.report import write_report

    sweep = _sweep(options)
    path = write_report(_studies(options, sweep), sweep.folder / "report.html" if sweep else None)
    print(f"report: {path}")


def _export(options: argparse.Namespace) -> None:
    from analysis.export import Asked, export

    sweep = _sweep(options)
    whole = not (options.names or sweep or options.reference)

    def asked() -> Asked:
        if whole:
            return report_skipped(load_runs(options.outputs)), []
        now = read_sweep(sweep.folder) if sweep else None  # a sweep in stages plans as it goes
        loaded, found = _asked(options, now)
        return loaded, [experiment for _, experiments in found for experiment in experiments]

    into = Path(options.into or Path(options.outputs, "export", options.to))
    export(options.to, into, asked, _shown(options), sweep=sweep.folder if sweep else None, watch=options.watch)


FORMATS = {None: tables.to_text, "csv": tables.to_csv, "markdown": tables.to_markdown, "latex": tables.to_latex}

Arguments = dict[str, dict[str, Any]]
"""Name -> what `add_argument` takes."""

OUTPUTS: Arguments = {"--outputs": dict(metavar="DIR", default="outputs", help="root of all output (default outputs)")}


OF_RUNS: Arguments = OUTPUTS | {
    "names": dict(nargs="*", metavar="NAME|KEY=VALUE", help="experiments, and overrides of their keys as for run.py; "
                  "overrides alone: exactly the runs of `run.py -m` with them; nothing: the last sweep"),
    "--config-dir": dict(metavar="DIR", help="a folder of YAML besides conf, as for run.py"),
    "--outcome": dict(metavar="METRIC[:last|:mean:N|:mean:A-B]", help="what is looked at: accuracy, test_loss, "
                      "train_loss or an own column of metrics.csv; of the last epoch, the mean of the last N, or of "
                      "epochs A to B (default: analysis.primary of the experiment; any other is exploratory)"),
    "--mixed": dict(action="store_true", help="compare runs of different code or versions all the same"),
    "--reference": dict(metavar="MODEL|KEY=VALUE", help="compare the arms with this model, or with those of "
                        "the same model that have this value (train.lr=0.01), seed by seed, each within the same "
                        "values of what else was swept (figures, report: default baseline)"),
    "--margin": dict(type=float, metavar="AMOUNT", help="the smallest difference worth having (default: the "
                     "experiment's, for its primary outcome; for accuracy the data set's; else none: no equivalence)"),
}  # fmt: skip

AXES: Arguments = {
    "--x": dict(metavar="KEY", help="draw the metric against this number (default: what was swept)"),
    "--y": dict(metavar="KEY", help="and over this one, as heat maps"),
}

COMMANDS: dict[str, tuple[Callable[[argparse.Namespace], None], Arguments, dict[str, Any]]] = {
    "figures": (_figures, OF_RUNS | AXES | {
        "--data": dict(action="store_true", help="write what is drawn as CSV beside each figure"),
    }, dict(
        help="draw what was swept: PNG and SVG in <outputs>/figures, or in the sweep's folder",
        description="Draw finished and running runs. The picture follows from what was swept: learning curves; the "
        "metric against a number; heat maps over two numbers.",
        epilog="examples: python -m analysis figures; python -m analysis figures fig1 train.epochs=1; "
        "python -m analysis figures model=pool,rmp dataset=mnist train.lr=0.01,0.1",
    )),
    "table": (_table, OF_RUNS, dict(
        help="print what each arm reached, or its paired differences: interval, n",
        description="Print the mean of the outcome, with a 95% t-interval over seeds and n; or, "
        "with --reference, the paired differences of the arms from it, with a verdict each. Where there is no "
        "sweep: all finished runs.",
        epilog="examples: python -m analysis table fig3 --markdown; python -m analysis table fig3 --reference baseline",
    )),
    "report": (_report, OF_RUNS | AXES, dict(
        help="write one HTML page: verdicts, pictures, tables, every run",
        description="Write one page that needs no network: <outputs>/report-NAME.html, or report.html in the folder of "
        "the last sweep.", epilog="example: python -m analysis report controlled",
    )),
    "export": (_export, OF_RUNS | AXES | {
        "--to": dict(required=True, choices=["tensorboard", "mlflow", "wandb", "csv", "parquet"], help="which tracker"),
        "--into": dict(metavar="DIR", help="where it lies (default <outputs>/export/<tracker>)"),
        "--watch": dict(action="store_true", help="again every few seconds, until nothing runs any more"),
    }, dict(
        help="export runs to TensorBoard, MLflow, W&B (offline), CSV or parquet",
        description="Export curves, config, state and pictures of runs, but for damaged ones. A run is known by its "
        "id: what is there already and has not changed is not touched. Where there is no sweep: all runs.",
        epilog="examples: python -m analysis export --to tensorboard --watch; "
        "python -m analysis export controlled --to mlflow",
    )),
    "status": (lambda options: (watch if options.watch else show)(options.outputs), OUTPUTS | {
        "--watch": dict(action="store_true", help="a live view of the last sweep, until q or Ctrl-C"),
    }, dict(help="show each run's state, epoch, accuracy and age")),
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = ArgumentParser(
        prog=PROGRAM,
        description="Look at runs: figures, tables and status, from their folders alone.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (command, own, texts) in COMMANDS.items():
        added = commands.add_parser(name, allow_abbrev=False, **texts)
        added.set_defaults(command=command, word=name)
        for flag, settings in own.items():
            added.add_argument(flag, **settings)
    kinds = commands.choices["table"].add_mutually_exclusive_group()
    for name in ("csv", "markdown", "latex"):
        kinds.add_argument(f"--{name}", dest="format", action="store_const", const=name, help=f"as {name}")
    options, rest = parser.parse_known_args(arguments)
    if wrong := [word for word in rest if word[:1] == "-" or ("names" not in options and word[:8] != "outputs=")]:
        parser.error(f"unrecognized arguments: {' '.join(wrong)}")
    words = [*getattr(options, "names", []), *rest]  # some may stand after a flag
    options.names = [word for word in words if not word.startswith("outputs=")]
    roots = [word.removeprefix("outputs=") for word in words if word not in options.names]  # as run.py takes it
    options.outputs = [options.outputs, *roots][-1]
    with plainly():
        if not options.outputs or (options.outputs != "outputs" and not Path(options.outputs).is_dir()):
            raise UserError(f"--outputs={options.outputs}: there is no such folder")
        options.command(options)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly in front of `| head`
    main()
