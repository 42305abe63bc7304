"""How far apart the results of the same runs are, made by other code or on another machine.

    python -m benchmarks.closeness OUTPUTS OTHER_OUTPUTS

Prints a row a model: of the runs that are done in both, the mean change of the last epoch's test accuracy in points,
its standard deviation over seeds, standard error and largest size, and n.
"""

import sys
from pathlib import Path

import pandas as pd

from analysis.load import load_runs


def main() -> None:
    """Compare and print."""
    first, second = (load_runs(Path(root)).runs.set_index("run") for root in sys.argv[1:3])
    other = second.loc[second["status"] == "done", "accuracy"]  # in %
    both = first[first["status"] == "done"].join(other.rename("other"), how="inner")
    both["change"] = both["other"] - both["accuracy"]
    columns = {"mean": "mean", "sd": "std", "se": "sem", "largest": lambda change: change.abs().max(), "n": "count"}
    rows = both.groupby("model.name")["change"].agg(**columns)
    rows.loc["all"] = both.assign(all="all").groupby("all")["change"].agg(**columns).iloc[0]
    print(pd.DataFrame(rows).astype({"n": int}).round(4).to_markdown())


if __name__ == "__main__":
    main()
