"""What a run's numbers come from: in copies of the package, edited and looked at by a process of its own."""

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from conftest import CONTROLS, ROOT, expand

from weightnet.config import Config
from weightnet.fingerprint import Origin, _below, data_hash, origins
from weightnet.registry import BIAS_RATES, FEEDBACKS, KINDS, READERS, SCALES, locate

LOOK = """
import json, sys
from dataclasses import asdict
from weightnet.config import build
from weightnet.fingerprint import origins
configs = [build(plain) for plain in json.load(sys.stdin)]
print(json.dumps([asdict(origin) for origin in origins(configs)]))
assert "torch" not in sys.modules
"""
MODELS = ("baseline", "pool", "rmp", "projection", "ones", *CONTROLS)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a copy of the package, to be edited."""
    shutil.copytree(ROOT / "weightnet", tmp_path / "weightnet", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "weightnet"


@pytest.fixture
def look(package: Path) -> Callable[[], dict[str, Origin]]:
    """Return a function that gives the origin of a run of each model by the package as it is then."""
    configs = expand(["dataset=digits", f"model={','.join(MODELS)}", "device=cpu"])
    plain = json.dumps([asdict(config) for config in configs])

    def origin_of_each() -> dict[str, Origin]:
        done = subprocess.run(
            [sys.executable, "-c", LOOK], cwd=package.parent, input=plain, capture_output=True, text=True, check=True
        )
        return dict(zip(MODELS, (Origin(**made) for made in json.loads(done.stdout)), strict=True))

    return origin_of_each


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def stale(before: dict[str, Origin], after: dict[str, Origin]) -> dict[str, str]:
    return {model: why for model in before if (why := before[model].difference(after[model]))}


def test_comments_docstrings_and_formatting_are_no_code(package: Path, look: Callable[[], dict[str, Origin]]) -> None:
    before = look()
    edit(package / "net" / "convolution.c", "/* How much is summed at once", "/* Other\n   words")
    edit(package / "net" / "streams.py", "    bound = 1 / math", "    # why\n    bound = 1  /  math")
    edit(package / "net" / "model.py", '"""Two convolutions and two linear layers', '"""Other words')
    edit(
        package / "net" / "feedback.py",
        "        super().__init__(dx)\n",
        "        super().__init__(\n            dx,\n        )\n",
    )
    assert stale(before, look()) == {}


def test_new_definitions_and_other_rooms_are_no_code_of_these_runs(
    package: Path, look: Callable[[], dict[str, Origin]]
) -> None:
    before = look()
    with (package / "net" / "feedback.py").open("a") as file:
        file.write(
            "\n\nclass MeanFeedback(Feedback):\n    def forward(self, a, b):\n        return a.mean(0)[: self.dx]\n"
        )
    edit(package / "registry.py", "FEEDBACKS = {", 'FEEDBACKS = {\n    "mean": f"{_FEEDBACK}:MeanFeedback",')
    edit(package / "config.py", "    log_interval: int", "    extra: int = 3\n    log_interval: int")
    edit(package / "experiment.py", "trim_threshold, 1 << 30", "trim_threshold, 1 << 29")
    edit(package / "runs" / "job.py", "def run(", "def other() -> None: ...\n\n\ndef run(")
    edit(package / "resolve.py", "USES = (", "MORE = 1\nUSES = (")
    # called like variables of other functions' own
    edit(
        package / "net" / "data.py",
        "\nmnist = _torch",
        "\ndef train() -> None:\n    import os as images\n\n\nmnist = _torch",
    )
    edit(package / "net" / "feedback.py", "class Feedback(", "def pooled() -> None: ...\n\n\nclass Feedback(")
    assert stale(before, look()) == {}


def test_convolutions_that_round_otherwise_make_stale() -> None:
    made = Origin("c0de", {"net.a": "1"}, None, "2.9", "native")
    assert made.difference(replace(made, convolutions="torch")) == "native convolutions, now torch"
    assert made.difference(replace(made, convolutions=None)) == ""  # no choice, or not known


def test_c_is_code(package: Path, look: Callable[[], dict[str, Origin]]) -> None:
    before = look()
    edit(package / "net" / "convolution.c", "Ints off = most <= 0;", "Ints off = most < 0;")
    assert stale(before, look()) == dict.fromkeys(MODELS, "net.convolution.(C) changed")


def test_an_edit_makes_those_stale_that_reach_it(package: Path, look: Callable[[], dict[str, Origin]]) -> None:
    before = look()
    edit(package / "net" / "feedback.py", "self.dx - len(pooled),), self.fill", "self.dx - len(pooled),), 2.0")
    after = look()
    assert stale(before, after) == dict.fromkeys(("pool", *CONTROLS), "net.feedback.PoolFeedback changed")

    edit(package / "net" / "projection.py", "bound = gain * math.sqrt(3 / dx)", "bound = gain * math.sqrt(4 / dx)")
    last, before, after = before, after, look()
    assert stale(before, after) == {"rmp": "net.projection._draw_dense changed"}

    edit(package / "geometry.py", "return convolved(side) // 2", "return -(-convolved(side) // 2)")
    before, after = after, look()
    assert stale(before, after) == dict.fromkeys(MODELS, "geometry.pooled_side changed")
    assert stale(last, after)["pool"] == "geometry.pooled_side, net.feedback.PoolFeedback changed"


def test_what_drives_the_training_is_code(package: Path, look: Callable[[], dict[str, Origin]]) -> None:
    before = look()
    edit(package / "experiment.py", "seed=config.seed,", "seed=config.seed + 1,")
    after = look()
    assert stale(before, after) == dict.fromkeys(MODELS, "experiment.Training changed")
    edit(package / "experiment.py", "torch.set_num_threads(config.threads)", "torch.set_num_threads(1)")
    assert stale(after, look()) == dict.fromkeys(MODELS, "experiment.prepare changed")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (
            "from torch.nn import functional\n",
            "from torch.nn.functional import __name__ as functional\n",
            "PoolFeedback",
        ),
        ("\n\nclass Feedback(", "\n\ntorch.set_flush_denormal(True)\n\n\nclass Feedback(", "(statements)"),
    ],
)
def test_imports_and_statements_are_code(
    package: Path, look: Callable[[], dict[str, Origin]], old: str, new: str, why: str
) -> None:
    before = look()
    edit(package / "net" / "feedback.py", old, new)
    assert why in stale(before, look())["pool"]


def test_every_name_means_something() -> None:
    for table in (BIAS_RATES, FEEDBACKS, KINDS, READERS, SCALES):
        assert all(locate(table, name, "key") for name in table)


def test_the_data_are_the_content_of_their_files(tmp_path: Path, make_config: Callable[..., Config]) -> None:
    dataset = replace(make_config().dataset, name="mine", files=None)
    root = str(tmp_path)
    assert data_hash(dataset, root) is None  # not there: unknown
    (tmp_path / "mine.pt").write_bytes(b"one")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "more").write_bytes(b"two")
    first = data_hash(dataset, root)
    (tmp_path / "other.pt").write_bytes(b"other")
    assert data_hash(dataset, root) == first
    shutil.copytree(tmp_path, tmp_path.parent / "moved")
    assert data_hash(dataset, str(tmp_path.parent / "moved")) == first  # wherever they lie, whenever they were written
    (tmp_path / "mine" / "more").write_bytes(b"2wo")
    assert data_hash(dataset, root) not in (None, first)
    assert data_hash(replace(dataset, files=["mine.*"]), root) not in (None, first, data_hash(dataset, root))


def test_the_real_data_have_a_hash(real_data: Path) -> None:
    for config, expected in zip(expand(["dataset=mnist,cifar"]), ("mnist", "cifar"), strict=True):
        (origin,) = origins([replace(config, data_root=str(real_data))])
        assert config.dataset.name == expected and origin.data


def test_data_are_looked_for_no_longer_than_a_moment(tmp_path: Path, make_config: Callable[..., Config]) -> None:
    dataset = make_config().dataset
    (tmp_path / "huge").touch()
    os.truncate(tmp_path / "huge", 1 << 40)
    before = time.monotonic()
    for root, pattern in (
        ("/", "**/*"),
        ("/", "**/nothing"),
        ("/", "*/*/*/*/*"),
        ("/proc", "kmsg"),
        (str(tmp_path), "*"),
    ):
        data_hash(replace(dataset, files=[pattern]), root)
    assert time.monotonic() - before < 5


@pytest.mark.parametrize("pattern", ["*", "a*", "**/*.pt", "a/**/x.pt", "**", "[ab].pt", "a", "none/*"])
def test_files_are_found_as_by_pathlib(pattern: str, tmp_path: Path) -> None:
    for name in ("a/b/x.pt", "a/x.pt", "a/.hidden", "b.pt", "c/d/y"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = set(_below(tmp_path, Path(pattern).parts, itertools.count(1)))
    # with ** at its end ours stands for folders, whatever the version; from Python 3.13 on pathlib's for files as well
    assert found == {path for path in tmp_path.glob(pattern) if pattern != "**" or path.is_dir()}
