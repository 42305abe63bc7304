"""Dimension matching: the kernels (m, n) and lengths dx for which pooled weights fit the input exactly.

Pooling `fc1.weight` (b, a + dx) by (n, m), and `fc2.weight` (c, b) by (2, n), gives together

    dw = ((a + dx) / m + c / 2) * b / n

numbers, which must leave room in the feedback vector: dw < dx. A triple (dx, m, n) is exact when m divides
a + dx and n divides b. Source: the notebook's search, which tries all triples; here divisors are enough.

    python -m weightnet.matching --features 160 --hidden 50 --classes 10 --dx 10 40
"""

import argparse
import csv
import itertools
import math
import signal
import sys
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import partial

from weightnet.errors import ArgumentParser

KERNEL_MIN = 10  # the notebook's smallest kernel


@dataclass(frozen=True, slots=True)
class Match:
    """An exact triple: `dw` pooled weights and `dx - dw` ones make the `dx` numbers that are fed back."""

    dw: int
    dx: int
    m: int
    n: int

    @property
    def fill(self) -> float:
        """Share of the feedback vector that carries weights, in (0, 1)."""
        return self.dw / self.dx

    def __str__(self) -> str:
        return f"dw = {self.dw}, dx = {self.dx}, dx-dw = {self.dx - self.dw}, m = {self.m}, n = {self.n}"


def pooled_length(dx: int, m: int, n: int, *, features: int, hidden: int, classes: int) -> int:
    """Return dw, the number of pooled weights. Rows and columns left over are dropped, as max-pooling does."""
    return ((features + dx) // m + classes // 2) * (hidden // n)


def divisors(number: int) -> list[int]:
    """Return all divisors of a positive number, in ascending order."""
    low = [d for d in range(1, math.isqrt(number) + 1) if number % d == 0]
    return low + [number // d for d in reversed(low) if d * d != number]


def solve(features: int, hidden: int, classes: int, dx: Sequence[int], kernel_min: int = KERNEL_MIN) -> list[Match]:
    """Return all exact triples with `dx` among the given lengths, in the notebook's order: by dx, n, m.

    Kernels run from `kernel_min` to one less than the matrix's own side: m < features, n < hidden.
    """
    return [
        Match(dw, length, m, n)
        for length in dx
        for n, m in itertools.product(divisors(hidden), divisors(features + length))
        if kernel_min <= n < hidden and kernel_min <= m < features
        if (dw := pooled_length(length, m, n, features=features, hidden=hidden, classes=classes)) < length
    ]


def misfit(dx: int, m: int, n: int, *, features: int, hidden: int, classes: int) -> str | None:
    """Return why the triple is not exact, or None if it is."""
    dw = pooled_length(dx, m, n, features=features, hidden=hidden, classes=classes)
    reasons = {
        f"m={m} does not divide {features}+{dx}={features + dx}": (features + dx) % m,
        f"n={n} does not divide hidden={hidden}": hidden % n,
        "the kernels are larger than the weight matrices": dw == 0,
        f"the {dw} pooled weights leave no room in dx={dx}": dw >= dx,
    }
    return ", ".join(reason for reason, holds in reasons.items() if holds) or None


def nearest(dx: int, m: int, n: int, *, features: int, hidden: int, classes: int, count: int = 3) -> list[Match]:
    """Return the exact triples that are nearest to the given one, as the sum of the three log ratios."""
    lengths = range(max(2, dx // 2, dx - 1000), min(2 * dx, dx + 1000) + 1)
    matches = solve(features, hidden, classes, lengths, kernel_min=2)
    matches.sort(key=lambda x: sum(abs(math.log(a / b)) for a, b in ((x.dx, dx), (x.m, m), (x.n, n))))
    return matches[:count]


def choose(
    features: int, hidden: int, classes: int, *, dx: int | None = None, m: int | None = None, n: int | None = None
) -> Match | None:
    """Return the triple that `dims=auto` takes, or None if there is none. What is given stays as it is.

    The rule: dx between an eighth and a half of the features, kernels of at least 10 (smaller ones where there
    are none); of these the fullest (greatest dw / dx), then the shortest dx, then the largest m.
    """
    lengths = range(max(2, features // 8), features // 2 + 1) if dx is None else [dx]
    for kernel_min in (KERNEL_MIN, 2):
        fits = solve(features, hidden, classes, lengths, kernel_min)
        if fits := [match for match in fits if m in (None, match.m) and n in (None, match.n)]:
            return max(fits, key=lambda match: (match.fill, -match.dx, match.m))
    return None


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="python -m weightnet.matching",
        description="Print every exact (dx, m, n): the kernels for which the pooled weights fit the input.",
        epilog="example: python -m weightnet.matching --features 160 --hidden 50 --classes 10 --dx 10 40",
    )
    add = partial(parser.add_argument, type=_positive)
    add("--features", required=True, metavar="A", help="flat features that enter fc1 (MNIST 160, CIFAR-10 1250)")
    add("--hidden", required=True, metavar="B", help="width of fc1")
    add("--classes", default=10, metavar="C", help="classes (default 10)")
    add("--dx", nargs=2, required=True, metavar=("LOW", "HIGH"),
        help="lengths of the feedback vector: LOW up to, but not including, HIGH")  # fmt: skip
    add("--kernel-min", default=KERNEL_MIN, metavar="K",
        help="smallest kernel m and n (default %(default)s, as in the notebook)")  # fmt: skip
    parser.add_argument("--sort", choices=("dx", "fill", "dw"), default="dx",
                        help="dx: the notebook's order (default); fill: most of dx filled first; "
                        "dw: most pooled weights first")  # fmt: skip
    parser.add_argument("--csv", action="store_true", help="print comma-separated values with a header")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    low, high = options.dx
    if low >= high:
        parser.error(f"argument --dx: LOW must be less than HIGH, not {low} {high}")
    matches = solve(options.features, options.hidden, options.classes, range(low, high), options.kernel_min)
    if options.sort != "dx":
        matches.sort(key=lambda match: -getattr(match, options.sort))
    if options.csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["dw", "dx", "m", "n", "ones", "fill"])
        writer.writerows([*astuple(x), x.dx - x.dw, f"{x.fill:.4f}"] for x in matches)
    else:
        print(*matches, sep="\n", end="\n" if matches else "")
    if not matches:
        print(f"no exact triple: try a wider --dx, a smaller --kernel-min, or a --hidden other than "
              f"{options.hidden} (its divisors: {divisors(options.hidden)})", file=sys.stderr)  # fmt: skip
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly in front of `| head`
    sys.exit(main())
