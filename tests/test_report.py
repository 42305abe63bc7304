import base64
import html
import math
import re
import shlex
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import expand
from test_load import write_run

from analysis.experiments import asked_for, load_experiment
from analysis.load import load_runs
from analysis.report import sentence, write_report
from analysis.study import Options, gather
from weightnet.config import Config
from weightnet.errors import RunFailed

MakeConfig = Callable[..., Config]


def write(*names: str, outputs: Path, **options: Any) -> Path:
    loaded = load_runs(outputs)
    return write_report([gather(load_experiment(name), loaded, Options(**options)) for name in names])


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.images: list[bytes] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            kind, _, content = (dict(attrs)["src"] or "").partition(",")
            assert kind == "data:image/svg+xml;base64"
            self.images.append(base64.b64decode(content))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    for config in expand(["experiment=fig1", "seed=1,2,3,4,5,6", f"outputs={tmp_path}"]):
        better = 0.01 * (config.model.name == "pool") + 0.0001 * config.seed
        write_run(config, [0.9 + better * config.seed / 6] * config.train.epochs)
    return tmp_path


def test_the_page_is_whole_and_needs_no_network(outputs: Path) -> None:
    path = write("fig1", outputs=outputs)
    assert path == outputs / "report-fig1.html"
    text = path.read_text()
    page = Page(text)
    assert set(re.findall(r"(?:src|href)=\"(?!data:)([^\"]*)", text)) == {
        f"runs/{run.name}/{file}" for run in (outputs / "runs").iterdir() for file in ("config.yaml", "run.log")
    }
    assert "<link" not in text
    assert len(page.images) == 4 and all(b"<svg" in image for image in page.images)
    words = "".join(page.words)
    for run in (outputs / "runs").iterdir():
        assert run.name in words
    assert "mnist, pool: better than 'without feedback'; +0.583 points" in words
    assert "Figure 1 of the notebook" in words  # what its YAML begins with
    assert "MNIST, against 'without feedback': better: pool +0.583 (test accuracy" in words
    assert all(caption[0].isupper() for caption in re.findall("<figcaption>(.*?)</", text))
    assert words.index("better than 'without feedback'") < words.index("Test accuracy %, last epoch")
    assert f"python run.py experiment=fig1 outputs={outputs} 'seed=range(1,7)'" in words
    assert f"python -m analysis report fig1 --outputs={outputs}" in words
    assert "torch 2.9" in words and "code c0de" in words


@pytest.mark.parametrize("words", [["fig1", "seed=1,2,3,4"], ["demo"]])
def test_its_commands_can_be_executed(words: list[str], outputs: Path) -> None:
    name, *overrides = words
    for config in expand(["experiment=demo", "seed=2,3", f"outputs={outputs}"]):
        write_run(config, [0.9] * 15)
    experiment = load_experiment(name, overrides)
    path = write_report([gather(experiment, load_runs(outputs), Options())])
    (command,) = re.findall(r"python run\.py (.*)", "".join(Page(path.read_text()).words))
    plan = asked_for([*(word for word in shlex.split(command) if word != "-m"), "device=cpu"])
    assert plan.runs == experiment.runs  # the seeds are not given twice, and what was planned is asked for


def test_without_pairs_there_is_no_verdict(make_config: MakeConfig, tmp_path: Path) -> None:
    for config in expand(["experiment=fig1", f"outputs={tmp_path}"]):
        write_run(config, [0.9] * config.train.epochs)
    assert "There is no verdict" in write("fig1", outputs=tmp_path).read_text()
    with pytest.raises(RunFailed, match="experiment=fig2"):
        write("fig1", "fig2", outputs=tmp_path)


def test_sentences() -> None:
    row = {"dataset": "mnist", "label": "pool", "reference": "without feedback", "difference": -0.012, "low": -0.05,
           "high": 0.025, "n": 12, "margin": 0.1, "seeds": math.nan, "seeds_high": 0.0, "confounds": ""}  # fmt: skip
    numbers, seeds = "-0.012 points [-0.050, +0.025], n = 12 pairs", {"seeds": 3.0, "seeds_high": 9.0}
    for more, words in (
        ({"verdict": "equivalent"}, "equivalent to 'without feedback' within 0.1 points"),
        (
            {"verdict": "undecided", **seeds},
            "undecided against 'without feedback' (needs about 3 more seeds, at most 9)",
        ),
        ({"verdict": "worse"}, "worse than 'without feedback'"),
        (
            {"verdict": "worse, but by less than the margin"},
            "worse than 'without feedback', but by less than the margin",
        ),
        ({"verdict": "cannot decide with n < 6"}, "cannot decide with n < 6 against 'without feedback'"),
    ):
        assert sentence(pd.Series({**row, **more})) == f"mnist, pool: {words}; {numbers}"
    alone = pd.Series({**row, "n": 1, "low": math.nan, "verdict": "undecided"})
    assert sentence(alone).endswith("; -0.012 points, n = 1 pair")


def test_another_reference_and_margin_are_those_of_the_page(outputs: Path) -> None:
    text = html.unescape(write("fig1", outputs=outputs, reference="pool", margin=2).read_text())
    assert "without feedback: worse than 'pool', but by less than the margin; -0.583 points" in text
    assert "--reference=pool --margin=2" in text
    shown = html.unescape(write("fig1", outputs=outputs, x="dims.hidden", mixed=True).read_text())
    assert f"report fig1 --x=dims.hidden --mixed --outputs={outputs}" in shown


def test_many_words_are_no_file_name(tmp_path: Path) -> None:
    words = ["dataset=digits", "model=pool", f"train.lr={','.join(f'0.{n:04}' for n in range(1, 60))}"]
    for config in expand([*words[:2], "train.lr=0.0001", f"outputs={tmp_path}"]):
        write_run(config, [0.9] * config.train.epochs)
    (tmp_path / "page.html").touch()
    page = write_report([gather(asked_for(words), load_runs(tmp_path))], tmp_path / "page.html")
    assert "0.0059" in page.read_text()


def test_the_page_names_the_outcome(outputs: Path) -> None:
    text = html.unescape(write("fig1", outputs=outputs, outcome="mean:2").read_text())
    assert "Differences in test accuracy, mean of the last 2 epochs (<strong>exploratory</strong>: the primary" in text
    assert "--outcome=accuracy:mean:2" in text
