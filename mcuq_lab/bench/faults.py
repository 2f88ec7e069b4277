"""Fault registers to words: what went wrong, in which function, on which line."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from mcuq_lab.bench.firmware import Firmware
from mcuq_lab.bench.mailbox import FaultRegisters

# CFSR: Armv7-M Architecture Reference Manual, B3.2.15, tables B3-15 to B3-17.
_CFSR_BITS = {
    0: "instruction fetch from where execution is not allowed (IACCVIOL)",
    1: "data access to where it is not allowed (DACCVIOL)",
    3: "memory fault on return from an exception (MUNSTKERR)",
    4: "memory fault on entry to an exception (MSTKERR)",
    5: "memory fault on saving FPU state (MLSPERR)",
    8: "bus error on an instruction fetch (IBUSERR)",
    9: "bus error on a data access (PRECISERR)",
    10: "bus error on an earlier data access, so that the place is only near (IMPRECISERR)",
    11: "bus error on return from an exception (UNSTKERR)",
    12: "bus error on entry to an exception (STKERR)",
    13: "bus error on saving FPU state (LSPERR)",
    16: "undefined instruction (UNDEFINSTR)",
    17: "invalid state, as by a jump to an even address (INVSTATE)",
    18: "invalid return from an exception (INVPC)",
    19: "coprocessor or FPU is off or absent (NOCP)",
    24: "unaligned access (UNALIGNED)",
    25: "division by zero (DIVBYZERO)",
}
_MMFAR_VALID = 1 << 7
_BFAR_VALID = 1 << 15
_HFSR_VECTTBL = 1 << 1
_HFSR_DEBUGEVT = 1 << 31


def describe_fault(registers: FaultRegisters, firmware: Firmware) -> str:
    """One sentence: the causes, the address that was accessed, function and line."""
    causes = [text for bit, text in _CFSR_BITS.items() if registers.cfsr >> bit & 1]
    if registers.hfsr & _HFSR_VECTTBL:
        causes.append("bus error on reading the vector table (VECTTBL)")
    if registers.hfsr & _HFSR_DEBUGEVT:
        causes.append("breakpoint without a debugger (DEBUGEVT)")
    text = ", ".join(causes) or f"no cause recorded (HFSR 0x{registers.hfsr:08X})"
    if registers.cfsr & _BFAR_VALID:
        text += f", accessing 0x{registers.bfar:08X}"
    elif registers.cfsr & _MMFAR_VALID:
        text += f", accessing 0x{registers.mmfar:08X}"
    if registers.sp < firmware.address("mcuq_stack_bottom"):
        size = firmware.image.sections[".stack"][1]
        return f"stack overflow: more than its {size:,} bytes were used ({text})"
    return f"{text}, at {describe_place(registers.pc, firmware)}"


def describe_place(address: int, firmware: Firmware) -> str:
    """Function, file and line of an address in the firmware, inlined calls outwards."""
    end = firmware.image.flash_end
    if not firmware.memory.flash.start <= address < end:
        return f"0x{address:08X}, outside of the image"
    frames = _addr2line(address, firmware)
    if not frames:
        return f"0x{address:08X}"
    inlined = " in ".join(f"{function} ({place})" for function, place in frames)
    return f"0x{address:08X} {inlined}"


def _addr2line(address: int, firmware: Firmware) -> list[tuple[str, str]]:
    """(function, file:line) of the address, innermost first; empty if there is no such tool."""
    gcc = str(firmware.toolchain.path)
    with tempfile.TemporaryDirectory(prefix="mcuq-fault-") as name:
        elf = Path(name) / "image.elf"
        elf.write_bytes(firmware.elf)
        try:
            tool = subprocess.run(
                [gcc, "-print-prog-name=addr2line"],
                capture_output=True,
                text=True,
                check=True,
                timeout=30,
            ).stdout.strip()
            lines = subprocess.run(
                [tool, "-f", "-i", "-e", str(elf), hex(address)],
                capture_output=True,
                text=True,
                check=True,
                timeout=30,
            ).stdout.splitlines()
        except (OSError, subprocess.SubprocessError):
            # The fault itself is the news; its address is in the message in any case.
            return []
    pairs = zip(lines[::2], lines[1::2], strict=False)
    return [
        (function, place.split(" ")[0].removeprefix("./"))
        for function, place in pairs
        if function != "??"
    ]
