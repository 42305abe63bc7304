"""The archived runs (docs/results/runs.tar.xz): what finished before must stay what it is."""

import json
import tarfile
from typing import Any

import pytest
import yaml
from conftest import ROOT

from weightnet.config import PARAMS, build
from weightnet.identity import arm, run_id, shape, signature
from weightnet.resolve import resolve
from weightnet.sweep.compose import composer

ARCHIVE = ROOT / "docs" / "results" / "runs.tar.xz"


@pytest.fixture(scope="module")
def archived() -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Return run.json and config.yaml of each run, by its id."""
    texts: dict[str, dict[str, str]] = {}
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            if member.isfile() and (file := archive.extractfile(member)):
                _, run, name = member.name.removeprefix("./").split("/")
                texts.setdefault(run, {})[name] = file.read().decode()
    return {run: (json.loads(files["run.json"]), yaml.safe_load(files["config.yaml"])) for run, files in texts.items()}


def test_every_archived_run_keeps_its_identity(archived: dict[str, tuple[dict[str, Any], dict[str, Any]]]) -> None:
    assert len(archived) == 443
    for run, (record, plain) in archived.items():
        config = build(plain)
        assert run_id(config) == run
        assert set(config.model.params) == set(PARAMS.get(config.model.feedback, {}))  # as a config of today
        assert (signature(config), arm(config), shape(config)) == (record["signature"], record["arm"], record["shape"])


def test_todays_commands_mean_the_archived_runs(
    archived: dict[str, tuple[dict[str, Any], dict[str, Any]]],
) -> None:
    with composer() as jobs:
        for run, (record, _) in archived.items():
            assert run_id(resolve(jobs.compose([*record["overrides"], "device=cpu"]))) == run
