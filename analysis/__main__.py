"""The command line of analysis: `python -m analysis --help`."""

import argparse
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
from analysis.experiments import asked_for, experiment_names, load_experiment
from analysis.load import Runs, load_runs, refuse_mixture, report_skipped, report_stale
from analysis.metrics import ACCURACY, find_metric
from analysis.status import show
from analysis.study import Options, Study, gather
from analysis.sweeps import Sweep, draw_sweep, drawn_by, last_sweep, studies_of
from analysis.tables import final_table
from weightnet.errors import RunFailed, UserError
from weightnet.sweep.mistakes import explain, plainly


def _studies(options: argparse.Namespace) -> list[Study]:
    """Gather the experiments that are named; else the runs that overrides ask for; else the last sweep."""
    names, overrides = _words(options)
    if not names and not overrides:
        sweep, loaded = _last_sweep(options)
        return studies_of(sweep, loaded, drawn_by(sweep, options.config_dir), _options(options),
                          config_dir=options.config_dir)  # fmt: skip
    if names:
        loaded = report_skipped(load_runs(options.outputs))
        experiments = [load_experiment(name, overrides, config_dir=options.config_dir) for name in names]
    else:
        experiments = [asked_for(overrides, config_dir=options.config_dir)]
        loaded = report_skipped(load_runs(options.outputs, experiments[0].runs))
    return [gather(experiment, loaded, _options(options)) for experiment in experiments]


def _words(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Return the names and the overrides of a command line.

    UserError: an option is impossible, or there is no such experiment.
    """
    if options.margin is not None and not options.margin > 0:
        raise UserError(f"--margin={options.margin:g}: must be greater than 0")
    names = [word for word in options.names if "=" not in word]
    return names, [word for word in options.names if "=" in word]


def _options(options: argparse.Namespace) -> Options:
    given: dict[str, Any] = {key.name: getattr(options, key.name, None) for key in fields(Options)}
    return Options(**given)


def _last_sweep(options: argparse.Namespace) -> tuple[Sweep, Runs]:
    """Return the last sweep and its runs; where there is none, say what else may be looked at."""
    if sweep := last_sweep(Path(options.outputs)):
        return sweep, report_skipped(load_runs(options.outputs, sweep.runs))
    if options.reference:
        raise UserError(f"--reference={options.reference}: name the experiment whose arms are compared")
    arms = set(load_runs(options.outputs).runs["arm"])
    names = [name for name in experiment_names(options.config_dir) if arms & _arms(name, options.config_dir)]
    known = f"experiments that have runs: {', '.join(names)}" if names else "and no experiment has runs"
    raise RunFailed(f"no sweep in {options.outputs}/sweeps to look at; {known}")


def _arms(name: str, config_dir: str | None) -> set[str]:
    try:
        return set(load_experiment(name, config_dir=config_dir).arms)
    except (UserError, HydraException, OmegaConfBaseException) as error:
        print(f"experiment={name} is broken: {explain(error)}", file=sys.stderr)
        return set()


def _figures(options: argparse.Namespace) -> None:
    from analysis.figures import draw  # not above: seaborn takes a second

    if any(_words(options)):
        for study in _studies(options):
            draw(study, data=options.data)
    else:
        sweep, loaded = _last_sweep(options)
        names = drawn_by(sweep, options.config_dir)
        draw_sweep(sweep, loaded, names, _options(options), data=options.data, config_dir=options.config_dir)


def _table(options: argparse.Namespace) -> None:
    metric = ACCURACY
    if not any(_words(options)) and not options.reference and not last_sweep(Path(options.outputs)):
        loaded = report_skipped(load_runs(options.outputs))
        report_stale(loaded.runs, "table")
        if not options.mixed:
            refuse_mixture(loaded.runs[loaded.runs["status"] == "done"])
        if len(loaded.runs):
            metric = find_metric(options.metric, loaded.runs, loaded.own)
        table = final_table(loaded.runs, metric)
    else:
        studies = _studies(options)
        metric = studies[0].metric
        if options.reference:
            if len(studies) > 1:
                raise UserError(f"--reference={options.reference}: name one experiment whose arms are compared")
            assert studies[0].differences is not None
            table = studies[0].differences
        else:
            runs = pd.concat([study.runs for study in studies]).drop_duplicates("run")
            if not options.mixed:
                refuse_mixture(runs[runs["status"] == "done"])
            table = final_table(runs, metric)
    print(FORMATS[options.format](table, metric).rstrip("\n"))


def _report(options: argparse.Namespace) -> None:
    from analysis.report import write_report

    sweep = None if any(_words(options)) else _last_sweep(options)[0]
    path = sweep.folder / "report.html" if sweep else None
    print(f"report: {write_report(_studies(options), path)}")


FORMATS = {None: tables.to_text, "csv": tables.to_csv, "markdown": tables.to_markdown, "latex": tables.to_latex}

Arguments = dict[str, dict[str, Any]]
"""Name -> what `add_argument` takes."""

OUTPUTS: Arguments = {"--outputs": dict(default="outputs", metavar="DIR", help="root of all output (default outputs)")}


OF_RUNS: Arguments = OUTPUTS | {
    "names": dict(nargs="*", metavar="NAME|KEY=VALUE", help="experiments, and overrides of their keys as for run.py; "
                  "overrides alone: exactly the runs of `run.py -m` with them; nothing: the last sweep"),
    "--config-dir": dict(metavar="DIR", help="a folder of YAML besides conf, as for run.py"),
    "--metric": dict(metavar="COLUMN", default="accuracy", help="what is looked at: accuracy (default), test_loss, "
                     "train_loss, or an own column of metrics.csv"),
    "--mixed": dict(action="store_true", help="compare runs of different code or versions all the same"),
    "--reference": dict(metavar="MODEL", help="compare the arms with this model, seed by seed, each within the same "
                        "values of what was swept (figures, report: default baseline)"),
    "--margin": dict(type=float, metavar="AMOUNT", help="the smallest difference worth having (accuracy: default "
                     f"{ACCURACY.margin} percentage points; other metrics: none, and no test of equivalence)"),
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
        description="Print the mean of the metric after the last epoch, with a 95%% t-interval over seeds and n; or, "
        "with --reference, the paired differences of the arms from that model, with a verdict each. Where there is no "
        "sweep: all finished runs.",
        epilog="examples: python -m analysis table fig3 --markdown; python -m analysis table fig3 --reference baseline",
    )),
    "report": (_report, OF_RUNS | AXES, dict(
        help="write one HTML page: verdicts, pictures, tables, every run",
        description="Write one page that needs no network: <outputs>/report-NAME.html, or report.html in the folder of "
        "the last sweep.", epilog="example: python -m analysis report controlled",
    )),
    "status": (lambda options: show(options.outputs, watch=options.watch), OUTPUTS | {
        "--watch": dict(action="store_true", help="a live view, until Ctrl-C"),
    }, dict(help="show each run's state, epoch, accuracy and age")),
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis",
        description="Look at runs: figures, tables and status, from their folders alone.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (command, own, texts) in COMMANDS.items():
        added = commands.add_parser(name, **texts)
        added.set_defaults(command=command)
        for flag, settings in own.items():
            added.add_argument(flag, **settings)
    kinds = commands.choices["table"].add_mutually_exclusive_group()
    for name in ("csv", "markdown", "latex"):
        kinds.add_argument(f"--{name}", dest="format", action="store_const", const=name, help=f"as {name}")
    options, rest = parser.parse_known_args(arguments)
    if any(word.startswith("-") for word in rest) or (rest and "names" not in options):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    words = [*getattr(options, "names", []), *rest]  # some may stand after a flag
    options.names = [word for word in words if not word.startswith("outputs=")]
    roots = [word.removeprefix("outputs=") for word in words if word not in options.names]  # as run.py takes it
    options.outputs = [options.outputs, *roots][-1]
    with plainly():
        options.command(options)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly in front of `| head`
    main()
