"""Measurements: each module is a command, and its docstring says which document holds its table."""

from weightnet.experiment import Config
from weightnet.sweep.compose import composer
from weightnet.sweep.plan import make_plan


def compose(*overrides: str) -> Config:
    """Return the resolved config of one run."""
    with composer(overrides) as jobs:
        (job,) = make_plan(jobs).jobs
        return job.config
