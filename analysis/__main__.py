"""The command line of analysis: `python -m analysis --help`."""

import argparse
import signal
from collections.abc import Sequence

from analysis import tables
from analysis.experiments import experiment_names, load_experiment
from analysis.figures import draw, report_skipped, select
from analysis.load import load_runs
from analysis.status import show
from cli.mistakes import plainly
from weightnet.errors import RunFailed

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
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    figures = commands.add_parser(
        "figures", parents=[common], help="draw experiments: PNG and SVG in <outputs>/figures",
        description="Draw experiments from their finished and running runs, all seeds that there are.",
        epilog="example: python -m analysis figures fig1 fig3 train.epochs=1",
    )  # fmt: skip
    figures.add_argument(
        "names", nargs="*", metavar="NAME|KEY=VALUE",
        help=f"experiments ({', '.join(experiment_names())}; default: those that have runs), and overrides of their "
        "keys as for run.py",
    )  # fmt: skip
    figures.set_defaults(command=_figures)

    table = commands.add_parser(
        "table", parents=[common], help="print final accuracy per arm: mean, 95%% interval, n",
        description="Print the mean test accuracy after the last epoch, with a 95%% t-interval over seeds and n.",
        epilog="example: python -m analysis table fig3 --markdown",
    )  # fmt: skip
    table.add_argument(
        "names", nargs="*", metavar="NAME|KEY=VALUE",
        help="experiments, and overrides of their keys (default: all finished runs)",
    )  # fmt: skip
    kinds = table.add_mutually_exclusive_group()
    for name in ("csv", "markdown", "latex"):
        kinds.add_argument(f"--{name}", dest="format", action="store_const", const=name, help=f"as {name}")
    table.set_defaults(command=_table, format="text")

    status = commands.add_parser("status", parents=[common], help="show each run's state, epoch, accuracy and age")
    status.add_argument("--watch", action="store_true", help="a live view, until Ctrl-C")
    status.set_defaults(command=_status)
    return parser


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return experiment names and overrides."""
    return [word for word in words if "=" not in word], [word for word in words if "=" in word]


def _figures(options: argparse.Namespace) -> None:
    names, overrides = _split(options.names)
    seeds_asked_for = any(override.startswith("seed=") for override in overrides)
    drawn = 0
    for name in names or experiment_names():
        try:
            draw(name, overrides, outputs=options.outputs, only_seeds_asked_for=seeds_asked_for)
            drawn += 1
        except RunFailed:
            if names:
                raise
    if not drawn:
        raise RunFailed(f"no experiment has finished or running runs in {options.outputs}/runs")


def _table(options: argparse.Namespace) -> None:
    names, overrides = _split(options.names)
    loaded = load_runs(options.outputs)
    report_skipped(loaded)
    runs = loaded.runs
    if names:
        seeds_asked_for = any(override.startswith("seed=") for override in overrides)
        chosen = [select(load_experiment(name, overrides), runs, only_seeds_asked_for=seeds_asked_for)
                  for name in names]  # fmt: skip
        runs = runs[runs["run"].isin([run for part in chosen for run in part["run"]])]
    print(FORMATS[options.format](tables.accuracy_table(runs)).rstrip("\n"))


def _status(options: argparse.Namespace) -> None:
    show(options.outputs, watch=options.watch)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = _parser().parse_args(arguments)
    with plainly():
        options.command(options)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly in front of `| head`
    main()
