"""Many runs: composed, planned, executed side by side, reported. It knows the science by `experiment` alone.

This package has the name of what it is for: called, it is `weightnet.api.sweep`.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weightnet.api import Runs


class _Callable(ModuleType):
    def __call__(self, *words: Any, **options: Any) -> "Runs":
        from weightnet.api import sweep

        return sweep(*words, **options)


sys.modules[__name__].__class__ = _Callable
