"""Where Unicorn 2.1.4 is wrong and QEMU right; neither touches what compilers emit.

The tables leave these out. A test that fails here because both agree says that Unicorn has been
mended: the instruction can then go into its table.
"""

from __future__ import annotations

import struct

import pytest

from tests.nucleosim.qemu import layout
from tests.nucleosim.qemu.case import Case, case_of
from tests.nucleosim.qemu.image import build_image
from tests.nucleosim.qemu.machines import missing_tools, run_on_core, run_on_qemu

pytestmark = pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools()))

_ZERO_FLAG = 1 << 30
_ROUND_UP = 1 << 22


def results(tmp_path, core: str, case: Case, word: int) -> tuple[int, int]:
    """One word of the record after a run on QEMU and on the simulated core."""
    image = build_image(core, [case], tmp_path)
    at = layout.HEADER_BYTES + 4 * word
    rams = (run_on_qemu(image), run_on_core(image).ram)
    return tuple(struct.unpack_from("<I", ram, at)[0] for ram in rams)


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m7"])
def test_fixed_point_to_float_rounds_to_nearest_whatever_the_mode(core, tmp_path):
    """ARMv7-M reference manual, VCVT (between floating-point and fixed-point): round_nearest."""
    convert = case_of("vcvt.f32.s32 s0, s0, #1", s0=0x01000001, fpscr=_ROUND_UP)
    on_qemu, simulated = results(tmp_path, core, convert, layout.CORE_REGISTERS)
    assert on_qemu == 0x4B000000  # 0x01000001 / 2 has 25 bits: a tie, to even
    assert simulated == 0x4B000001
    nearest = case_of("vcvt.f32.s32 s0, s0, #1", s0=0x01000001)
    assert results(tmp_path, core, nearest, layout.CORE_REGISTERS) == (0x4B000000, 0x4B000000)


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m7"])
def test_isb_does_not_end_an_it_block(core, tmp_path):
    """ARMv7-M reference manual, ISB and IT: allowed in a block, and what follows stays in it."""
    block = case_of("ite eq", "isbeq", "addne r0, #1", apsr=_ZERO_FLAG)
    on_qemu, simulated = results(tmp_path, core, block, 0)
    assert on_qemu == 0
    assert simulated == 1
