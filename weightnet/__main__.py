"""The command line of weightnet: `python run.py --help` in a checkout, `weightnet --help` where it is installed."""

import shlex
import signal
import sys
from contextlib import nullcontext

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from weightnet.errors import ArgumentParser, UserError
from weightnet.sweep.compose import to_config
from weightnet.sweep.conf_folders import CONF, offer_own_models
from weightnet.sweep.interrupt import SIGNALS, finish_epoch_on_signals
from weightnet.sweep.mistakes import plainly, program, refuse
from weightnet.sweep.states import ANEW


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def job(cfg: DictConfig) -> float:
    """Execute one job; return its test accuracy, for sweepers that optimise."""
    job = HydraConfig.get()
    alone = job.mode == RunMode.RUN
    # in a sweep, a launcher collects what jobs raise, and the other jobs go on
    with plainly() if alone else nullcontext():
        for part in job.overrides.hydra:
            if alone and part.startswith(("hydra.sweeper.", "hydra.launcher.")):
                raise UserError(f"{part}: is an option of sweeps: {program()} {shlex.join(['-m', *sys.argv[1:]])}")
        config = to_config(cfg)
        from weightnet.runs.job import run  # not above: --help and mistakes need not wait for torch

        anew = not alone and job.sweeper.get("rerun") in ANEW
        with finish_epoch_on_signals() as stop:
            return run(config, overrides=list(job.overrides.task), stop=stop, anew=anew).test_accuracy


def main() -> None:
    """Run the command line."""
    try:
        with plainly():
            ArgumentParser(prog=program(), parents=[get_args_parser()], add_help=False).parse_args()
            refuse(sys.argv[1:])
            offer_own_models(sys.argv[1:])
            job()
    finally:
        for number in SIGNALS:  # all is said and done: the exit status, too, is to be what it is
            signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    main()
