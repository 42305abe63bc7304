"""Small convolutional networks whose own weights are fed back into their input.

From Python: `weightnet.run`, `weightnet.sweep` and `weightnet.load` (`weightnet.api`), imported when they are used.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weightnet.api import Run, RunFailed, Runs, UserError, load, run, sweep

__all__ = ["Run", "RunFailed", "Runs", "UserError", "load", "run", "sweep"]

# Linux: large tensors in pages of 2 MB, not 4 kB, which take long to touch: CIFAR-10 is normalised in 0.2 s instead
# of 1.5 s (2 cores, 2026-11-24). torch reads this once, when it is imported.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("weightnet.sweep") if name == "sweep" else getattr(import_module("weightnet.api"), name)


def __dir__() -> list[str]:
    return __all__
