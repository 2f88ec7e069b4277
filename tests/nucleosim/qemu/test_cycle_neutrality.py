"""How a run is cut up changes neither results nor cycles: whole, in slices, step by step."""

import random
import shutil

import pytest

from tests.nucleosim.qemu.case import CaseGenerator
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
