"""The command line of analysis: `python -m analysis --help`."""

import argparse
import signal
from collections.abc import Sequence

import pandas as pd

from analysis import stats, tables
from analysis.experiments import experiment_names
from analysis.load import Runs, load_runs, refuse_mixture, report_skipped
from analysis.status import show
from analysis.study import Study, gather
from weightnet.errors import RunFailed, UserError
from weightnet.sweep.mistakes import plainly

FORMATS = {
    "text": tables.to_text,
    "csv": tables.to_csv,
    "markdown": tables.to_markdown,
    "latex": tables.to_latex,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analysis",
        description="Look at runs: figures, tables and status, from their folders alone.",
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--outputs", default="outputs", metavar="DIR", help="root of all output (default outputs)")
    runs = argparse.ArgumentParser(add_help=False)
    runs.add_argument("--mixed", action="store_true", help="compare runs of different code or versions all the same")
    runs.add_argument(
        "--reference", metavar="MODEL",
        help="compare the experiment's arms with this model, seed by seed (figures, report: default baseline)",
    )  # fmt: skip
    runs.add_argument(
        "--margin", type=float, default=stats.MARGIN, metavar="POINTS",
        help=f"the smallest difference worth having, in percentage points (default {stats.MARGIN})",
    )  # fmt: skip
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    figures = commands.add_parser(
        "figures", parents=[common, runs], help="draw experiments: PNG and SVG in <outputs>/figures",
        description="Draw experiments from their finished and running runs, all seeds that there are.",
        epilog="example: python -m analysis figures fig1 fig3 train.epochs=1",
    )  # fmt: skip
    figures.add_argument(
        "names", nargs="*", metavar="NAME|KEY=VALUE",
        help=f"experiments ({', '.join(experiment_names())}; default: those that have runs), and overrides of their "
        "keys as for run.py",
    )  # fmt: skip
    figures.add_argument("--data", action="store_true", help="write what is drawn as CSV beside each figure")
    figures.set_defaults(command=_figures)

    table = commands.add_parser(
        "table", parents=[common, runs], help="print final accuracy per arm, or its paired differences: interval, n",
        description="Print the mean test accuracy after the last epoch, with a 95%% t-interval over seeds and n; or, "
        "with --reference, the paired differences of one experiment's arms from that model, with a verdict each.",
        epilog="examples: python -m analysis table fig3 --markdown; python -m analysis table fig3 --reference baseline",
    )  # fmt: skip
    table.add_argument(
        "names", nargs="*", metavar="NAME|KEY=VALUE",
        help="experiments, and overrides of their keys (default: all finished runs)",
    )  # fmt: skip
    kinds = table.add_mutually_exclusive_group()
    for name in ("csv", "markdown", "latex"):
        kinds.add_argument(f"--{name}", dest="format", action="store_const", const=name, help=f"as {name}")
    table.set_defaults(command=_table, format="text")

    report = commands.add_parser(
        "report", parents=[common, runs], help="write one HTML page: verdicts, pictures, tables, every run",
        description="Write <outputs>/report-NAME.html: one page that needs no network. Without a name: all experiments "
        "that have runs.",
        epilog="example: python -m analysis report controlled",
    )  # fmt: skip
    report.add_argument("names", nargs="*", metavar="NAME|KEY=VALUE", help="experiments, and overrides of their keys")
    report.set_defaults(command=_report)

    status = commands.add_parser("status", parents=[common], help="show each run's state, epoch, accuracy and age")
    status.add_argument("--watch", action="store_true", help="a live view, until Ctrl-C")
    status.set_defaults(command=_status)
    return parser


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return experiment names and overrides."""
    return [word for word in words if "=" not in word], [word for word in words if "=" in word]


def _without(words: Sequence[str], key: str) -> tuple[list[str], list[str]]:
    """Return the words that do not begin with the key, and the values of those that do."""
    return [word for word in words if not word.startswith(key)], [
        word.removeprefix(key) for word in words if word.startswith(key)
    ]


def _studies(options: argparse.Namespace) -> list[Study]:
    """Gather the experiments that are named, or all that have runs."""
    names, overrides = _split(options.names)
    if options.reference and not names:
        raise UserError(f"--reference={options.reference}: name the experiment whose arms are compared")
    if not options.margin > 0:
        raise UserError(f"--margin={options.margin:g}: must be greater than 0")
    loaded = _load(options)
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


def _load(options: argparse.Namespace) -> Runs:
    loaded = load_runs(options.outputs)
    report_skipped(loaded)
    return loaded


def _figures(options: argparse.Namespace) -> None:
    from analysis.figures import draw  # not above: seaborn takes a second

    for study in _studies(options):
        draw(study, data=options.data)


def _table(options: argparse.Namespace) -> None:
    named = bool(options.names or options.reference)
    studies = _studies(options) if named else []
    if options.reference:
        if len(studies) > 1:
            raise UserError(f"--reference={options.reference}: name one experiment whose arms are compared")
        table = studies[0].differences
        assert table is not None
    else:
        runs = pd.concat([study.runs for study in studies]).drop_duplicates("run") if named else _load(options).runs
        if not options.mixed:
            refuse_mixture(runs[runs["status"] == "done"])
        table = tables.accuracy_table(runs)
    print(FORMATS[options.format](table).rstrip("\n"))


def _report(options: argparse.Namespace) -> None:
    from analysis.report import write_report

    print(f"report: {write_report(_studies(options))}")


def _status(options: argparse.Namespace) -> None:
    show(options.outputs, watch=options.watch)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if any(word.startswith("-") for word in rest) or (rest and "names" not in options):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:  # names and overrides that stand after a flag
        options.names = [*options.names, *rest]
    if "names" in options:  # as run.py takes it
        options.names, roots = _without(options.names, "outputs=")
        options.outputs = roots[-1] if roots else options.outputs
    with plainly():
        options.command(options)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly in front of `| head`
    main()
