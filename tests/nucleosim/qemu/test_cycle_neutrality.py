"""How a run is cut up changes neither results nor cycles: whole, in slices, step by step."""

import random
import shutil

import pytest

from tests.nucleosim.qemu.case import CaseGenerator, case_of
from tests.nucleosim.qemu.image import build_image
from tests.nucleosim.qemu.machines import run_on_core, sliced, stepped

pytestmark = pytest.mark.skipif(
    shutil.which("arm-none-eabi-as") is None, reason="needs arm-none-eabi-as"
)


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m7"])
def test_slices_and_steps(core, tmp_path):
    image = build_image(core, CaseGenerator(core, 30).cases(120), tmp_path)
    whole = run_on_core(image)
    assert run_on_core(image, sliced(random.Random(31))) == whole
    assert run_on_core(image, stepped) == whole


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m7"])
@pytest.mark.parametrize(
    "lines",
    [
        ("cmp r0, #40", "beq 1f", "adds r1, #1", "adds r1, #2", "1:"),
        ("cmp r0, #40", "itt eq", "addeq r1, #1", "beq.w 1f", "adds r1, #2", "1:"),
        ("movs r2, #5", "cmp r0, #40", "ite eq", "udiveq r1, r0, r2", "sdivne r1, r0, r2"),
        (
            "movs r2, #5",
            "1:",
            "lsrs r0, #1",
            "bcc 2f",
            "adds r1, #1",
            "2:",
            "subs r2, #1",
            "bne 1b",
        ),
    ],
    ids=["branch", "branch in a block", "division in a block", "branches to predict"],
)
def test_steps_by_hand(core, lines, tmp_path):
    image = build_image(core, [case_of(*lines, r0=40)], tmp_path)
    assert run_on_core(image, stepped) == run_on_core(image)
