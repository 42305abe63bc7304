"""What the process that workers are forked from imports, once for all of them."""

from contextlib import suppress
from importlib import import_module

with suppress(Exception):  # what is wrong with somebody's code shows again, and is reported, where a run needs it
    for module in ("weightnet.runs.job", "weightnet.sweep.workers"):
        import_module(module)
