"""Looks at a sweep before all of its seeds have run, at numbers of seeds that were fixed beforehand.

Whoever looks after every seed and stops at p < 0.05 is wrong far more often than in 5% of all cases. So each of K
looks is at a level of its own, the same at all (Pocock 1977), that keeps the error over all looks at 5%. The intervals
at that level cover the truth at all looks at once with 95% (repeated confidence intervals, Jennison & Turnbull 1989),
so also at the one at which an arm happened to be decided. An arm that is decided leaves its family.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import integrate, optimize, stats

from analysis.stats import LEVEL, compare


def level_of_looks(sizes: Sequence[int], hypotheses: int = 1) -> float:
    """Return the level of each look, after so many (increasing) observations, that makes `LEVEL` over all of them.

    It is the level of a family: of several hypotheses each has a part of it, and where less is spent, looks are more
    nearly independent, so more of them count (with one, two looks at 8 and 16 leave 0.029, with very many 0.025).
    """
    each = LEVEL / hypotheses
    if len(sizes) == 1:
        return LEVEL
    found = optimize.brentq(lambda level: _error(level, sizes) - each, each / len(sizes), each, xtol=1e-9)
    return float(found) * hypotheses


def _error(level: float, sizes: Sequence[int]) -> float:
    """Return the probability that a two-sided z-test of a true hypothesis rejects it at any look.

    By the density of the sum of all observations among those never rejected, carried on from look to look (Armitage,
    McPherson & Rowe 1969).
    """
    critical, grid, density, before = stats.norm.isf(level / 2), np.zeros(1), np.ones(1), 0
    for size in sizes:
        bound = critical * math.sqrt(size)
        sums = np.linspace(-bound, bound, 401)
        step = stats.norm.pdf(sums[:, None] - grid, scale=math.sqrt(size - before))
        density = integrate.simpson(step * density, x=grid) if before else step[:, 0]
        grid, before = sums, size
    return 1 - float(integrate.simpson(density, x=grid))


def compare_at_looks(
    data: pd.DataFrame, looks: Sequence[Sequence[int]], *, arm: str, reference: Mapping[str, str], hypotheses: int,
    **asked: Any,
) -> pd.DataFrame:  # fmt: skip
    """Return `analysis.stats.compare` of each arm at the look that decided it, else at the last one.

    `looks` are the seeds of each, with those of the looks before it; `hypotheses` the number of arms that are to be
    compared, whether there are data of all or not. An arm is `decided` by a look only where it has all the seeds of
    it; else the verdict says so. How many more seeds an open question takes is left out: their number has been fixed.
    """
    asked["level"] = level_of_looks([len(seeds) for seeds in looks], hypotheses)
    open_arms, rows = dict(reference), dict[str, pd.DataFrame]()
    for seeds in looks:
        part = data[data["seed"].isin(seeds)]
        there = {name: other for name, other in open_arms.items() if {name, other} <= set(part[arm])}
        if not there:
            continue
        table = compare(part[part[arm].isin([*there, *there.values()])], arm=arm, reference=there, **asked)
        between = table["n"].between(1, len(seeds) - 1)
        table["verdict"] = table["verdict"].mask(between, table["verdict"] + " (not at a look)")
        table["decided"] &= ~between
        for name, row in table.groupby(arm, sort=False):
            before = rows.get(str(name))
            if before is None or row["n"].iloc[0] > before["n"].iloc[0]:  # else it stands at the look before
                rows[str(name)] = row
        decided = set(table.loc[table["decided"], arm])
        open_arms = {name: other for name, other in open_arms.items() if name not in decided}
    if not rows:
        return pd.DataFrame(columns=[arm, "verdict", "decided"])
    table = pd.concat([rows[name] for name in data[arm].unique() if name in rows], ignore_index=True)
    return table.assign(seeds=math.nan, seeds_high=math.nan)
