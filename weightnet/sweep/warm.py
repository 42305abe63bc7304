"""The process that workers are forked from, started before they are needed. No torch in here: that is its task."""

import multiprocessing
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

from weightnet.experiment import PRELOAD


def warm_up() -> ForkServerContext:
    """Begin to import what workers need, in a process of its own; return the context that makes them from it.

    That process imports torch once, while this one still plans. Every worker is a fork of it and therefore there at
    once, also one that replaces another. (This process itself should not be forked: it has threads.)
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["weightnet.runs.job", "weightnet.sweep.workers", *PRELOAD])
    forkserver.ensure_running()
    return context
