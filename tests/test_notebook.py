"""docs/weight_net.ipynb: executed on digits; as it was committed, executed on MNIST."""

import re
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

nbformat = pytest.importorskip("nbformat", reason="needs nbclient and ipykernel (the extra `dev`)")
NOTEBOOK = ROOT / "docs" / "weight_net.ipynb"


def read() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def test_it_is_committed_with_its_pictures_and_without_its_machine() -> None:
    notebook = read()
    assert len(notebook.cells) == 12 and NOTEBOOK.stat().st_size < 1 << 20
    assert all(cell.outputs for cell in notebook.cells if cell.cell_type == "code")
    assert sum("image/png" in output.get("data", {}) for output in outputs(notebook)) == 3
    assert "dataset=mnist" in str(outputs(notebook)[0]) and not re.search(r"[ '\"]/\w+/", str(outputs(notebook)))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Jupyter's own
def test_it_runs_on_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("WEIGHTNET_NOTEBOOK_DATASET", raising=False)
    notebook = read()
    for cell in notebook.cells:
        cell.update({"outputs": [], "execution_count": None} if cell.cell_type == "code" else {})
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where).execute()
    assert all(cell.outputs for cell in notebook.cells if cell.cell_type == "code")
    said = [output for output in outputs(notebook) if output.output_type == "stream"]
    assert not [output for output in said if output.name == "stderr"] and "[1/" not in str(said)
    assert len(list((tmp_path / "outputs" / "sweeps").iterdir())) == 3
