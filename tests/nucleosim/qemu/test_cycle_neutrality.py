"""How a run is cut up changes neither results nor cycles: whole, in slices, step by step."""

import random
import shutil

import pytest

from mcuq_lab.nucleosim.timing.waits import Cache, CodeWaits, DataWaits, Waits
from tests.nucleosim.qemu import layout
from tests.nucleosim.qemu.case import CaseGenerator, case_of
from tests.nucleosim.qemu.image import build_image
from tests.nucleosim.qemu.machines import run_on_core, sliced, stepped

pytestmark = pytest.mark.skipif(
    shutil.which("arm-none-eabi-as") is None, reason="needs arm-none-eabi-as"
)

CORES = ("cortex-m4", "cortex-m7")

# Small caches, so that they miss often; data in RAM is then read and written through callbacks.
WAITS = Waits(
    CodeWaits(0, layout.CODE_BYTES, 16, 5, 6, Cache(8, 16, 8)),
    (
        DataWaits(0, layout.CODE_BYTES, 5),
        DataWaits(layout.RAM, layout.RAM + layout.RAM_BYTES, 7, 9),
    ),
    Cache(8, 16, 2),
)


@pytest.mark.parametrize("core", CORES)
def test_slices_and_steps(core, tmp_path):
    image = build_image(core, CaseGenerator(core, 30).cases(100), tmp_path)
    whole = run_on_core(image)
    assert run_on_core(image, sliced(random.Random(31))) == whole
    assert run_on_core(image, stepped) == whole


@pytest.mark.parametrize("core", CORES)
def test_memories_that_wait_change_cycles_only(core, tmp_path):
    image = build_image(core, CaseGenerator(core, 40).cases(100), tmp_path)
    prompt, waiting = run_on_core(image), run_on_core(image, waits=WAITS)
    assert waiting.ram == prompt.ram
    assert waiting.instructions == prompt.instructions
    assert waiting.cycles > 1.5 * prompt.cycles
    assert run_on_core(image, sliced(random.Random(41)), WAITS) == waiting
    # Steps charge waits of code by the instruction, runs by the block: near, not the same.
    steps = run_on_core(image, stepped, WAITS)
    assert steps.ram == waiting.ram
    assert steps.cycles == pytest.approx(waiting.cycles, rel=0.05)


@pytest.mark.parametrize("core", CORES)
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
