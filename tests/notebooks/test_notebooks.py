"""Every notebook runs top to bottom on the simulated board, with a small budget."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"

SMALL = {
    "00_check_the_bench": {},
    "01_quickstart": {"n_images": 50},
    "02_operand_packing": {"policies": ["w8a8", "w3a3"], "layer": "c3_8x16_16"},
    "03_search": {"evaluations": 6},
    "04_reproduce_the_poster": {
        "measure_again": True,
        "models": ["resnet8"],
        "policies": ["w8a8", "w4a4"],
        "n_images": 50,
    },
    "05_board_tuning": {
        "clocks": ["max"],
        "arena_shares": [1.0],
        "flash_shares": [0.8, 0.4],  # the last is refused
    },
    "06_bring_your_own": {"evaluations": 6, "epochs": 1},
}


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_runs_top_to_bottom(path, tmp_path, monkeypatch):
    if path.stem == "05_board_tuning":  # what it measures is for this test alone
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    notebook = nbformat.read(path, as_version=4)
    parameters = next(
        cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())
    )
    changes = "".join(f"\n{name} = {value!r}" for name, value in SMALL[path.stem].items())
    parameters.source += changes
    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": NOTEBOOKS}}).execute()


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_is_thin_and_committed_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) <= 15
    assert code[0].metadata["tags"] == ["parameters"]
    for cell in code:
        assert not cell.outputs
        assert "class " not in cell.source
        assert cell.source.count("def ") == 0
