"""Code of the user's own, from outside of the package: found, checked, executed, fingerprinted."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from conftest import MEAN

import weightnet.fingerprint
from weightnet.config import Config
from weightnet.errors import UserError
from weightnet.experiment import resolve, untaken
from weightnet.fingerprint import GONE, Origin, origins
from weightnet.identity import canonical, run_id, signature
from weightnet.own import forget, sources
from weightnet.resolve import resolve as resolve_alone
from weightnet.runs.folder import RunFolder
from weightnet.runs.job import run

MakeConfig = Callable[..., Config]

pytestmark = pytest.mark.usefixtures("own_folder")


def origin(config: Config) -> Origin:
    (made,) = origins([config])
    return made


def test_a_model_is_what_its_class_says(own: Callable[..., Config]) -> None:
    config = resolve(own())
    assert config.model.name == "MeanFeedback"  # not pool, which stood in the defaults
    assert config.model.uses == ["dx"] and config.dims.m is None and config.dims.dx == 26
    assert config.model.params == {"gain": 1.0}
    assert canonical(config)["model"] == {
        "name": "MeanFeedback", "feedback": "my_feedback.py:MeanFeedback", "params": {"gain": 1.0}
    }  # fmt: skip
    assert run_id(config).startswith("digits-MeanFeedback-gain1.0-dx26-s1-")
    # the same run, however it is written
    assert signature(resolve(own("./my_feedback.py:MeanFeedback", params={"gain": 1}))) == signature(config)
    assert signature(resolve(own(params={"gain": 2}))) != signature(config)
    assert signature(resolve(config)) == signature(config)  # from a run's own config.yaml


def test_kernels_are_used_where_the_class_takes_them(own: Callable[..., Config], own_folder: Path) -> None:
    (own_folder / "half.py").write_text(
        "from weightnet.net.feedback import PoolFeedback\n\n\nclass Half(PoolFeedback):\n"
        "    def forward(self, weight1, weight2):\n        return 0.5 * super().forward(weight1, weight2)\n"
    )
    config = resolve(own("half.py:Half"))
    assert config.model.uses == ["dx", "m", "n"] and (config.dims.m, config.dims.n) == (31, 25)


def test_a_parameter_that_no_model_takes_is_a_mistake(own: Callable[..., Config]) -> None:
    asked = own(params={"gian": 2.0})
    config = resolve(asked)
    assert "model.params.gian: there is no such parameter; MeanFeedback takes gain" in untaken(asked, [config])
    pool = own("pool", params={"scale": 2.0, "fill": 0.0})
    assert resolve(pool).model.params == {"gain": 1.0, "fill": 0.0}
    assert untaken(pool, [resolve(pool)]) == "model.params.scale: there is no such parameter; pool takes fill, gain"
    rmp = own("projection", name="rmp", kind="dense", scale="xavier", params={"gain": 2.0})
    assert "rmp takes no parameters" in untaken(rmp, [resolve(rmp)])
    assert untaken(rmp, [resolve(rmp), config]) == ""  # in a sweep of both


def test_a_kind_that_no_model_takes_is_a_mistake(make_config: Callable[..., Config]) -> None:
    asked, projection = make_config("digits", "pool", resolved=False, kind="foo"), make_config("digits", "projection")
    assert untaken(asked, [resolve(asked)]) == "model.kind=foo: pool takes no kind; model=projection does"
    assert untaken(asked, [resolve(asked), projection]) == ""


BROKEN = {
    "syntax.py:F": ("class F(:", "SyntaxError: .*syntax.py, line 1"),
    "raises.py:F": ("\n1 / 0\n", "ZeroDivisionError: division by zero .raises.py, line 2"),
    "other.py:F": ("class G:\n    pass\n", "other.py defines no F; it has G"),
    "no_dx.py:F": ("def F(n):\n    pass\n", "must take dx"),
    "required.py:F": (MEAN.replace("float = 1.0", "float").replace("MeanFeedback", "F"), "gain: is missing; F.*gain"),
    "number.py:F": ("F = 3\n", "is no class with parameters"),
    "plain.py:F": ("class F:\n    def __init__(self, dx):\n        pass\n", "must be a torch.nn.Module"),
    "shape.py:F": (
        MEAN.replace("[: self.dx]", "").replace("MeanFeedback", "F"),
        r"gave .*\(186,\) .*must be .*\(26,\)",
    ),
    "trained.py:F": (
        MEAN.replace("MeanFeedback", "F").replace(
            "        self.dx", "        self.mix = nn.Linear(1, 1)\n        self.dx", 1
        ),
        "has the parameter mix.weight, which nothing would train: .* by self.register_buffer",
    ),
    "latin.py:F": ("\udce9 = 1\n", "latin.py cannot be read: it must be UTF-8, of at most 1,048,576 bytes"),
    "fails.py:F": (MEAN.replace("mean(dim=0)", "mean(dim=7)").replace("MeanFeedback", "F"), "fails.py, line 11"),
    "absent.py:F": (None, "there is no file absent.py in .*mine"),
    "no.such.module:F": (None, "there is no module no.such.module"),
    "my_feedback.py:": (None, "must be my_file.py:Name or my.module:Name"),
}


@pytest.mark.parametrize("target", BROKEN)
def test_mistakes_are_one_line_before_anything_runs(target: str, own: Callable[..., Config], own_folder: Path) -> None:
    text, message = BROKEN[target]
    if text is not None:
        (own_folder / target.partition(":")[0]).write_text(text, errors="surrogateescape")
    with pytest.raises(UserError, match=message) as caught:
        resolve(own(target))
    assert "\n" not in str(caught.value)


def test_a_default_is_of_the_type_that_the_class_says(own: Callable[..., Config], own_folder: Path) -> None:
    (own_folder / "whole.py").write_text(MEAN.replace("float = 1.0", "float = 1"))
    by_default, asked = (resolve(own("whole.py:MeanFeedback", params=params)) for params in ({}, {"gain": 1}))
    assert signature(by_default) == signature(asked) == signature(resolve(by_default))


@pytest.mark.parametrize(("value", "right"), [("big", False), (True, False), (2, True), (2.5, True)])
def test_parameters_are_of_the_type_that_the_class_says(own: Callable[..., Config], value: Any, right: bool) -> None:
    if right:
        assert resolve(own(params={"gain": value})).model.params == {"gain": float(value)}
    else:
        with pytest.raises(UserError, match=f"model.params.gain={value}: MeanFeedback takes float for gain"):
            resolve(own(params={"gain": value}))


@pytest.mark.parametrize("name", ["../../evil", "a/b", "", ".hidden", "a b", "x" * 100])
def test_names_cannot_leave_the_folder(own: Callable[..., Config], name: str) -> None:
    with pytest.raises(UserError, match="model.name="):
        resolve_alone(own(name=name))


def test_a_builtin_name_stands_for_its_own_feedback(own: Callable[..., Config]) -> None:
    with pytest.raises(
        UserError, match="model.feedback=none: model=pool .*use model=baseline or model=twin or model=wide"
    ):
        resolve(own("none"))


def test_a_run_of_ones_own_feedback(own: Callable[..., Config], own_folder: Path) -> None:
    config = resolve(own(params={"gain": 0.5}))
    result = run(config)
    record = RunFolder(result.folder).record()
    assert record and "my_feedback.py" in record.definitions and result.epochs == 2
    # |me| is that of the class: means of uniform weights, halved
    norms = [row["norm"] for row in RunFolder(result.folder).feedback(result.epochs)]
    assert 0 < norms[0] < 0.5 * 26**0.5


def test_a_feedback_that_draws_is_reproducible_and_resumes(own: Callable[..., Config], own_folder: Path) -> None:
    """Torch's global state is what an innocent user draws from, in the constructor and at every step."""
    (own_folder / "draws.py").write_text(
        MEAN.replace("MeanFeedback", "Draws")
        .replace("from torch import", "import torch\nfrom torch import")
        .replace("= dx, gain", "= dx, gain\n        self.register_buffer('start', torch.randn(dx))")
        .replace("weight1.mean(dim=0)[: self.dx]", "(self.start + torch.randn(self.dx))")
    )
    config = resolve(own("draws.py:Draws", epochs=3))
    whole, parts = run(replace(config, outputs=str(own_folder / "a"))), replace(config, outputs=str(own_folder / "b"))
    for stops in (1, 1, 9):
        calls = iter(range(10))
        try:
            run(parts, stop=lambda calls=calls, stops=stops: next(calls) + 1 >= stops)
        except KeyboardInterrupt:
            torch.randn(7)  # what happens between is another process's business
    for name in ("steps.csv", "feedback.csv"):
        assert (whole.folder / name).read_bytes() == (own_folder / "b" / "runs" / run_id(config) / name).read_bytes()


def test_the_source_and_what_it_reaches_are_code(own: Callable[..., Config], own_folder: Path) -> None:
    (own_folder / "helpers").mkdir()
    (own_folder / "helpers" / "__init__.py").write_text("")
    (own_folder / "helpers" / "scale.py").write_text("HALF = 0.5\n")
    (own_folder / "half.py").write_text(
        "from helpers.scale import HALF\nfrom weightnet.net import feedback\n\n\nclass Half(feedback.PoolFeedback):\n"
        "    def forward(self, weight1, weight2):\n        return HALF * super().forward(weight1, weight2)\n"
    )
    reached = origin(resolve(own("half.py:Half"))).definitions
    assert {"half.py", "helpers/scale.py", "net.feedback.PoolFeedback", "net.training.fit"} <= set(reached)
    assert "net.feedback.ShuffledFeedback" not in reached
    pool = origin(resolve_alone(own("pool"))).definitions
    assert {name: digest for name, digest in reached.items() if name in pool} == pool


def test_sources_are_found_without_being_executed(own_folder: Path) -> None:
    (own_folder / "pkg" / "sub").mkdir(parents=True)
    for name in ("pkg", "pkg/sub"):
        (own_folder / name / "__init__.py").write_text("raise SystemError('executed')\n")
    (own_folder / "pkg" / "sub" / "mod.py").write_text("from ..top import x\nfrom . import side\nimport json, torch\n")
    (own_folder / "pkg" / "top.py").write_text("x = 1\n")
    (own_folder / "pkg" / "sub" / "side.py").write_text("import pkg.sub.mod\n")
    assert set(sources("pkg.sub.mod:F")) >= {"pkg.sub.mod", "pkg/top.py", "pkg/sub/side.py"}
    assert not any("torch" in name or "json" in name for name in sources("pkg.sub.mod:F"))
    (own_folder / "large.py").write_text("#" * (2 << 20))
    for hostile in ("absent.py:F", "large.py:F", "/dev/zero:F", "/etc/passwd.py:F", "..:F", "a..b:F", "no.such:F"):
        assert list(sources(hostile).values()) == [None]
    (own_folder / "deep.py").write_text("(" * 100_000)
    assert sources("deep.py:F")["deep.py"]


def test_a_file_where_nobody_may_look_is_none(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.stat", forbid := Mock(side_effect=PermissionError(13, "Permission denied")))
    assert sources("/home/somebody/f.py:F") == {"/home/somebody/f.py": None} and forbid.called
    monkeypatch.undo()
    assert sources(f"{'x' * 300}.py:F") == {f"{'x' * 300}.py": None}


def test_a_file_that_has_come_back_is_seen(own: Callable[..., Config], own_folder: Path) -> None:
    config = resolve(own())
    (own_folder / "my_feedback.py").rename(own_folder / "away.py")
    forget()
    weightnet.fingerprint.forget()
    assert origin(config).definitions["my_feedback.py"] == GONE
    assert not forget()
    (own_folder / "away.py").rename(own_folder / "my_feedback.py")
    assert forget()


def test_a_run_whose_file_is_gone_says_so(own: Callable[..., Config], own_folder: Path) -> None:
    config = resolve(own())
    made = origin(config)
    shutil.copytree(own_folder, own_folder.parent / "elsewhere")
    assert made.difference(replace(made, code="0", definitions=made.definitions | {"my_feedback.py": "0"})) == (
        "my_feedback.py changed"
    )
    gone = replace(made, code="0", definitions=made.definitions | {"my_feedback.py": GONE})
    assert made.difference(gone) == "my_feedback.py cannot be read"
