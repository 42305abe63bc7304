"""The command line of analysis: `python -m analysis --help`."""

import argparse
import signal
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from analysis import stats, tables
from analysis.experiments import experiment_names
from analysis.load import load_runs, refuse_mixture, report_skipped, report_stale
from analysis.status import show
from analysis.study import Study, gather
from weightnet.errors import RunFailed, UserError
from weightnet.sweep.mistakes import plainly


def _studies(options: argparse.Namespace) -> list[Study]:
    """Gather the experiments that are named, or all that have runs."""
    names = [word for word in options.names if "=" not in word]
    overrides = [word for word in options.names if "=" in word]
    if options.reference and not names:
        raise UserError(f"--reference={options.reference}: name the experiment whose arms are compared")
    if not options.margin > 0:
        raise UserError(f"--margin={options.margin:g}: must be greater than 0")
    loaded = report_skipped(load_runs(options.outputs))
    studies = []
    for name in names or experiment_names():
        try:
            studies.append(gather(name, overrides, loaded=loaded, mixed=options.mixed, reference=options.reference,
                                  margin=options.margin))  # fmt: skip
        except RunFailed:
            if names:
                raise
    if not studies:
        raise RunFailed(f"no experiment has finished or running runs in {options.outputs}/runs")
    return studies


def _figures(options: argparse.Namespace) -> None:
    from analysis.figures import draw  # not above: seaborn takes a second

    for study in _studies(options):
        draw(study, data=options.data)


def _table(options: argparse.Namespace) -> None:
    if options.reference:
        study, *others = _studies(options)
        if others:
            raise UserError(f"--reference={options.reference}: name one experiment whose arms are compared")
        table = study.differences
        assert table is not None
    else:
        if options.names:
            runs = pd.concat([study.runs for study in _studies(options)]).drop_duplicates("run")
        else:
            runs = report_skipped(load_runs(options.outputs)).runs
            report_stale(runs, "table")
        if not options.mixed:
            refuse_mixture(runs[runs["status"] == "done"])
        table = tables.accuracy_table(runs)
    print(FORMATS[options.format](table).rstrip("\n"))


def _report(options: argparse.Namespace) -> None:
    from analysis.report import write_report

    print(f"report: {write_report(_studies(options))}")


FORMATS = {None: tables.to_text, "csv": tables.to_csv, "markdown": tables.to_markdown, "latex": tables.to_latex}

Arguments = dict[str, dict[str, Any]]
"""Name -> what `add_argument` takes."""

OUTPUTS: Arguments = {"--outputs": dict(default="outputs", metavar="DIR", help="root of all output (default outputs)")}


def _of_runs(names: str) -> Arguments:
    return OUTPUTS | {
        "names": dict(nargs="*", metavar="NAME|KEY=VALUE", help=names),
        "--mixed": dict(action="store_true", help="compare runs of different code or versions all the same"),
        "--reference": dict(metavar="MODEL", help="compare the experiment's arms with this model, seed by seed "
                            "(figures, report: default baseline)"),
        "--margin": dict(type=float, default=stats.MARGIN, metavar="POINTS", help="the smallest difference worth "
                         f"having, in percentage points (default {stats.MARGIN})"),
    }  # fmt: skip


COMMANDS: dict[str, tuple[Callable[[argparse.Namespace], None], Arguments, dict[str, Any]]] = {
    "figures": (_figures, _of_runs(
        f"experiments ({', '.join(experiment_names())}; default: those that have runs), and overrides of their "
        "keys as for run.py"
    ) | {"--data": dict(action="store_true", help="write what is drawn as CSV beside each figure")}, dict(
        help="draw experiments: PNG and SVG in <outputs>/figures",
        description="Draw experiments from their finished and running runs, all seeds that there are.",
        epilog="example: python -m analysis figures fig1 fig3 train.epochs=1",
    )),
    "table": (_table, _of_runs("experiments, and overrides of their keys (default: all finished runs)"), dict(
        help="print final accuracy per arm, or its paired differences: interval, n",
        description="Print the mean test accuracy after the last epoch, with a 95%% t-interval over seeds and n; or, "
        "with --reference, the paired differences of one experiment's arms from that model, with a verdict each.",
        epilog="examples: python -m analysis table fig3 --markdown; python -m analysis table fig3 --reference baseline",
    )),
    "report": (_report, _of_runs("experiments, and overrides of their keys"), dict(
        help="write one HTML page: verdicts, pictures, tables, every run",
        description="Write <outputs>/report-NAME.html: one page that needs no network. Without a name: all experiments "
        "that have runs.", epilog="example: python -m analysis report controlled",
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
