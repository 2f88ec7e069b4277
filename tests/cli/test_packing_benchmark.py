"""`mcuq bench packings`: every tile runs to its end, and what beats what on the Cortex-M4."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from mcuq_lab.cli.main import app
from tests.support.simulated_core import has_toolchain

pytestmark = pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")


@pytest.fixture(scope="module")
def rates(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "packings.json"
    done = CliRunner().invoke(app, ["bench", "packings", "--json", "--output", str(path)])
    assert done.exit_code == 0, done.stderr
    rows = json.loads(done.stdout)
    document = json.loads(path.read_text())
    assert document["rows"] == rows
    assert document["timing_model"]
    assert document["compiler"]
    keys = ("operator", "w_bits", "a_bits", "name")
    found = {tuple(row[key] for key in keys): row["macs_per_cycle"] for row in rows}
    assert len(found) == len(rows)
    return found


def test_no_tile_passes_its_limit(rates):
    """Ten loads and twelve SMLAL take 25 cycles; six loads and eight SMLAD 16."""
    assert 0.85 * 36 * 3 / 25 < rates["3x3", 4, 4, "row m=3 s=13"] < 36 * 3 / 25
    assert 0.85 * 4 < rates["1x1", 2, 2, "halves of 2 px x 2 ch s=7"] < 4


@pytest.mark.parametrize(
    ("w_bits", "a_bits", "packing"),
    [
        (8, 8, "row m=2 s=21, 2+1 taps"),
        (4, 4, "row m=3 s=13"),
        (2, 2, "row m=4 s=9"),
    ],
)
def test_vertical_identity_saves_a_quarter(rates, w_bits, a_bits, packing):
    direct = rates["3x3", w_bits, a_bits, packing]
    assert rates["3x3", w_bits, a_bits, f"{packing}, F(2, 3)"] > 1.25 * direct


def test_long_accumulators_lose_on_products_of_halves(rates):
    for w_bits, a_bits in ((4, 4), (2, 2)):
        tiles = {key[3]: rate for key, rate in rates.items() if key[:3] == ("1x1", w_bits, a_bits)}
        halves = max(rate for name, rate in tiles.items() if name.startswith("halves"))
        others = [rate for name, rate in tiles.items() if not name.startswith("halves")]
        assert halves > max(others)
