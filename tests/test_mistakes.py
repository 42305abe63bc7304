import os
from contextlib import suppress

import pytest
from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

from weightnet.errors import RunFailed, UserError
from weightnet.sweep.compose import composer
from weightnet.sweep.mistakes import explain, plainly, refuse
from weightnet.sweep.plan import make_plan


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (UserError("wrong"), 2, "weightnet: wrong\n"),
        (RunFailed("broke"), 1, "weightnet: broke\n"),
        (HydraException("first\nsecond"), 2, "weightnet: first\n"),
        (KeyboardInterrupt(), 130, "weightnet: interrupted; the same command goes on where this one stopped\n"),
    ],
)
def test_expected_failures_are_one_line(
    error: BaseException, status: int, text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(SystemExit) as stopped, plainly():
        raise error
    assert stopped.value.code == status
    assert capsys.readouterr().err == text


def test_a_bug_shows_its_traceback(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(SystemExit) as stopped, plainly():
        raise ZeroDivisionError("by hand")
    assert stopped.value.code == 1
    assert "ZeroDivisionError: by hand" in capsys.readouterr().err


@pytest.mark.parametrize("before", [None, "0"])
def test_the_environment_is_left_as_it_was(before: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    if before is not None:
        monkeypatch.setenv("HYDRA_FULL_ERROR", before)
    for error in (None, UserError("wrong")):
        with suppress(SystemExit), plainly():
            assert os.environ["HYDRA_FULL_ERROR"] == "1"
            if error:
                raise error
        assert os.environ.get("HYDRA_FULL_ERROR") == before


def test_an_unknown_choice_without_a_close_match_lists_the_choices() -> None:
    error = MissingConfigException("", "model/zzz", ["pool", "rmp"])
    assert explain(error) == "model=zzz: there is no such model. Choices: pool, rmp"


def test_an_unknown_key_without_a_close_match_says_where_to_look() -> None:
    error = HydraException("Could not override 'zzz'.")
    error.__cause__ = ConfigAttributeError("Key 'zzz' not in 'Config'")
    error.__cause__.full_key = "zzz"  # as OmegaConf sets it
    assert explain(error) == "zzz: there is no such key. `python run.py --cfg job` shows them all"
    assert explain(ConfigKeyError("x")) == "x"


@pytest.mark.parametrize(
    ("word", "right"),
    [
        ("~train", "nothing can be taken out"),
        ("train@x=y", "has no @"),
        ("+train@x=y", "has no @"),
        ("model=[pool,rmp]", "-m model=pool,rmp"),
        ("seed=[1,2,3]", "without brackets: -m model=pool,rmp seed=1,2,3"),
        ("train={}", "train.lr=0.1"),
        ("experiment=../x", "the name of a choice"),
        ("experiment=fig1,a/../x", "the name of a choice"),
        ("hydra.sweeper=nope", "hydra/sweeper=NAME"),
        ("+hydra.launcher={}", "hydra/launcher=NAME"),
        ("+hydra.sweeper.foo=1", "leave out the +"),
        ("hydra.verbose=nope", "true or false"),
        ("hydra.searchpath=[nope]", "there is no folder nope"),
        ("hydra.searchpath=['file://nope', pkg://x]", "there is no folder nope"),
    ],
)
def test_words_that_hydra_would_take_are_refused(word: str, right: str) -> None:
    with pytest.raises(UserError) as error:
        refuse(["-m", "seed=1", word])
    assert str(error.value).startswith(f"{word}: ") and right in str(error.value) and "\n" not in str(error.value)


def test_words_that_mean_something_are_not_refused() -> None:
    refuse(
        [
            "-m",
            "--config-dir",
            "a@b",
            "model=../mine.py:Mean,pool",
            "data_root=../data",
            "seed=1,2",
            "model.params={gain: 2}",
            "hydra.verbose=True",
            "hydra.searchpath=[file:///tmp, pkg://x]",
            "dataset.shape=[1,28,28]",
            "hydra/sweeper=basic",
            'hydra.sweeper.zip=["a,b"]',
            "+hydra.sweeper.params.seed=1",
            "+experiment=null",
        ]
    )


@pytest.mark.parametrize(
    ("word", "right"),
    [
        ("train.learning_rate=0.1", "did you mean train.lr?"),
        ("seed=1..3", "'seed=range(1,4)', with -m"),
        ("seed=1:3", "'seed=range(1,4)', with -m"),
    ],
)
def test_what_other_projects_write_is_understood(
    word: str, right: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(SystemExit), plainly(), composer([word]) as jobs:
        make_plan(jobs)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"weightnet: {word.partition('=')[0]}: ") and right in line


def test_several_values_without_m_are_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["run.py", "model=pool", "seed=range(1,3)"])
    said = explain(HydraException("Sweep parameters 'seed=range(1,3)' requires --multirun"))
    assert said.startswith("seed=range(1,3): several values make a sweep: ")
    assert said.endswith("run.py -m model=pool 'seed=range(1,3)'")
