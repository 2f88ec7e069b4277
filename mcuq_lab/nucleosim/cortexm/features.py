"""What one core has and another has not: identification registers, breakpoint unit, DWT lock.

Sources: ARM 100166 (Cortex-M4 TRM) 4.1, 7.2; ARM DDI 0489 (Cortex-M7 TRM) 3.2, 7 and 9;
ARM DDI 0403 (ARMv7-M reference manual).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mcuq_lab.nucleosim.errors import NucleoSimError

_COMMON_ID = {
    0x004: 0x2,  # ICTR
    0xD40: 0x00000030,  # ID_PFR0
    0xD44: 0x00000200,
    0xD48: 0x00100000,
    0xD50: 0x00100030,
    0xD58: 0x01000000,
    0xD60: 0x01101110,  # ID_ISAR0
    0xD64: 0x02112000,
    0xD68: 0x20232231,
    0xD6C: 0x01111131,
    0xD90: 0x00000800,  # MPU_TYPE: eight regions
}


@dataclass(frozen=True)
class CoreFeatures:
    """Properties of a core that its chip cannot choose.

    Attributes:
        id_registers: read-only registers, by offset in the System Control Space.
        ccr_reset: Configuration and Control Register after reset.
        ccr_writable: its bits that software can change.
        can_unbuffer_writes: whether ACTLR.DISDEFWBUF exists, which makes write errors precise.
        breakpoint_revision: of the Flash Patch and Breakpoint unit (FP_CTRL.REV + 1): 1 compares
            addresses below 0x20000000, 2 any address.
        breakpoint_part: part number of that unit in its identification registers.
        has_dwt_lock: whether software must unlock the DWT (DWT_LAR) before it can write to it.
        has_caches: whether there are caches and tightly coupled memories, with their registers.
    """

    id_registers: Mapping[int, int]
    ccr_reset: int
    ccr_writable: int
    can_unbuffer_writes: bool
    breakpoint_revision: int
    breakpoint_part: int
    has_dwt_lock: bool
    has_caches: bool


_FEATURES = {
    "cortex-m4": CoreFeatures(
        id_registers=_COMMON_ID
        | {
            0xD70: 0x01310102,  # ID_ISAR4
            0xF40: 0x10110021,  # MVFR0: single precision
            0xF44: 0x11000011,  # MVFR1
        },
        ccr_reset=0x200,  # STKALIGN
        ccr_writable=0x31B,
        can_unbuffer_writes=True,
        breakpoint_revision=1,
        breakpoint_part=0x003,
        has_dwt_lock=False,
        has_caches=False,
    ),
    "cortex-m7": CoreFeatures(
        id_registers=_COMMON_ID
        | {
            0xD70: 0x01310132,  # ID_ISAR4
            0xF40: 0x10110221,  # MVFR0: single and double precision
            0xF44: 0x12000011,  # MVFR1
            0xF48: 0x00000040,  # MVFR2: FPv5's selections, conversions, minimum and maximum
        },
        ccr_reset=0x40200,  # BP (branch prediction, always on), STKALIGN
        ccr_writable=0x3011B,  # DC, IC among them; STKALIGN is fixed
        can_unbuffer_writes=False,
        breakpoint_revision=2,
        breakpoint_part=0x00E,
        has_dwt_lock=True,
        has_caches=True,
    ),
}


def core_features(core: str) -> CoreFeatures:
    """Features of `core` ("cortex-m4").

    Raises:
        NucleoSimError: no such core.
    """
    if core not in _FEATURES:
        raise NucleoSimError(f"no core {core!r}; known: {', '.join(_FEATURES)}. Correct the chip.")
    return _FEATURES[core]
