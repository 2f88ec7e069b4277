"""The project's own files agree with each other."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def declared_packages() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + project["optional-dependencies"]["dev"]
    return {re.match(r"[\w-]+", line)[0].lower().replace("_", "-") for line in lines}


def constrained_versions() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {name.lower().replace("_", "-"): version for name, version in pairs}


def test_every_declared_package_has_a_tested_version():
    assert declared_packages() <= constrained_versions().keys()


def test_environment_yml_uses_the_same_versions():
    text = (ROOT / "environment.yml").read_text()
    assert "-c constraints.txt" in text
    assert f"torch=={constrained_versions()['torch']}" in text
    assert "-e .[dev]" in text
    assert "xpack-gcc-arm-none-eabi" in text


def test_floors_hold():
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("suffix", [".py", ".c", ".h", ".S"])
def test_files_stay_readable_in_length(suffix):
    """About 400 lines is where a file wants to be two."""
    paths = [p for top in ("mcuq_lab", "boards", "tests") for p in (ROOT / top).rglob(f"*{suffix}")]
    long = {
        str(p.relative_to(ROOT)): n for p in paths if (n := len(p.read_text().splitlines())) > 450
    }
    assert not long


def test_links_in_the_readme_lead_somewhere():
    text = (ROOT / "README.md").read_text()
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert links
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert not missing


REFERENCE = ROOT / "results" / "reference"
# The simulator's speed and accuracy, and loops of instructions: no measurements of networks.
SIMULATOR = REFERENCE / "simulator.json"
LOOPS = REFERENCE / "packings.json"
# Verdicts on the rows of models.json, whose provenance they repeat.
CLAIMS = REFERENCE / "claims.json"


@pytest.mark.parametrize("path", sorted(REFERENCE.glob("*.json")), ids=lambda path: path.stem)
def test_reference_results_say_where_they_come_from(path):
    content = json.loads(path.read_text())
    assert content["command"].startswith("mcuq ")
    assert re.fullmatch(r"[0-9a-f]{40}", content["git_revision"])
    assert content["git_dirty"] is False
    if path == SIMULATOR:
        return
    if path == CLAIMS:
        assert content["judgements"]
        return
    assert content["rows"]
    if path == LOOPS:
        return
    for row in content["rows"]:
        assert row["simulated"] in (True, False)
        assert row["bit_exact"] is True


def test_reference_of_the_simulator_names_its_sources():
    content = json.loads(SIMULATOR.read_text())
    assert content["speeds"]
    for row in (*content["rules"], *content["programs"]):
        assert row["source"]
