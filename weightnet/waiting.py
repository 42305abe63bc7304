"""Waits of more than two seconds show on a terminal how far they are."""

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm  # type: ignore[import-untyped]

T = TypeVar("T")

PATIENCE = 2.0
"""Seconds after which a bar appears."""


def waiting(items: Iterable[T], what: str, total: int | None = None) -> Iterable[T]:
    """Return the items; once they have taken some seconds, a bar on a terminal says what is done and how long it takes.

    `total` is how many they are, where they have no length. The bar is gone when they are.
    """
    if not sys.stderr.isatty():
        return items
    bar: Iterable[T] = tqdm(items, what, total, leave=False, delay=PATIENCE, dynamic_ncols=True)
    return bar
