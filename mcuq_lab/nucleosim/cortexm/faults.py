"""Exception numbers and fault status bits (ARMv7-M reference manual, B1.5 and B3.2)."""

from __future__ import annotations

from dataclasses import dataclass

NMI = 2
HARD_FAULT = 3
MEM_MANAGE = 4
BUS_FAULT = 5
USAGE_FAULT = 6
SVCALL = 11
DEBUG_MONITOR = 12
PENDSV = 14
SYSTICK = 15

# CFSR: memory management (bits 7..0), bus (15..8), usage (31..16)
IACCVIOL = 1 << 0
IBUSERR = 1 << 8
PRECISERR = 1 << 9
IMPRECISERR = 1 << 10
UNSTKERR = 1 << 11
STKERR = 1 << 12
BFARVALID = 1 << 15
UNDEFINSTR = 1 << 16
INVSTATE = 1 << 17
INVPC = 1 << 18
NOCP = 1 << 19
UNALIGNED = 1 << 24
DIVBYZERO = 1 << 25

# HFSR
HFSR_VECTTBL = 1 << 1
HFSR_FORCED = 1 << 30
HFSR_DEBUGEVT = 1 << 31

# SHCSR enables of the configurable faults
SHCSR_ENABLE = {MEM_MANAGE: 1 << 16, BUS_FAULT: 1 << 17, USAGE_FAULT: 1 << 18}

# DEMCR vector catch bits, by the fault that they watch for
VC_CORERESET = 1 << 0
VC_HARDERR = 1 << 10
VC_INTERR = 1 << 9
VC_BUSERR = 1 << 8
VC_STATERR = 1 << 7
VC_CHKERR = 1 << 6
VC_NOCPERR = 1 << 5
VC_MMERR = 1 << 4


@dataclass(frozen=True)
class Fault:
    """A fault before it is taken: exception, bits for CFSR, address for BFAR if it has one."""

    exception: int
    cfsr: int
    bfar: int | None = None


def vector_catch_bits(exception: int, cfsr: int) -> int:
    """The DEMCR bits of which any stops the core when the exception is taken."""
    bits = {HARD_FAULT: VC_HARDERR, MEM_MANAGE: VC_MMERR, BUS_FAULT: VC_BUSERR}.get(exception, 0)
    if exception == USAGE_FAULT:
        bits |= VC_NOCPERR if cfsr & NOCP else 0
        bits |= VC_CHKERR if cfsr & (UNALIGNED | DIVBYZERO) else 0
        bits |= VC_STATERR if cfsr & (UNDEFINSTR | INVSTATE | INVPC) else 0
    return bits
