"""The model inside the simulated board: firmware reads CYCCNT and finds the published counts."""

import shutil
import subprocess
from pathlib import Path

import pytest

from mcuq_lab.nucleosim.board import SimulatedBoard
from mcuq_lab.nucleosim.chip import load_chip

pytestmark = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None, reason="needs arm-none-eabi-gcc"
)

FLASH_START = 0x0800_0000
RESULT = 0x2000_0000

# CYCCNT before and after `{code}`; the stall of the first read hides in the NOP after it.
PROGRAM = """
    .syntax unified
    .cpu cortex-m4
    .fpu fpv4-sp-d16
    .thumb
    .word 0x20010000, start + 1
    .thumb_func
start:
    ldr r0, =0xE000ED88         // CPACR: FPU on
    ldr r1, =0x00F00000
    str r1, [r0]
    ldr r0, =0xE000EDFC         // DEMCR.TRCENA
    ldr r1, =0x01000000
    str r1, [r0]
    ldr r11, =0xE0001000        // DWT: CYCCNT on
    movs r1, #1
    str r1, [r11]
    ldr r8, =0x20000100
    {setup}
    b measure
    .ltorg
    .align 4
measure:
    dsb
    isb
    nop.w
    ldr.w r10, [r11, #4]
    nop.w
    .align 2
{code}
    nop.w                       // two: a stall that the code leaves falls before the read
    nop.w
    ldr.w r9, [r11, #4]
    sub r9, r9, r10
    subs r9, #4
    ldr r0, =0x20000000
    str r9, [r0]
    bkpt 0
    .ltorg
"""

BOARD = SimulatedBoard(load_chip("nucleo-f412zg"))


def assemble(source: str, directory: Path) -> bytes:
    (directory / "program.S").write_text(source)
    for command in (
        "arm-none-eabi-gcc -c -mcpu=cortex-m4 -mfpu=fpv4-sp-d16 program.S -o program.o",
        "arm-none-eabi-ld -Ttext=0x08000000 -e 0 program.o -o program.elf",
        "arm-none-eabi-objcopy -O binary -j .text program.elf program.bin",
    ):
        done = subprocess.run(command.split(), cwd=directory, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return (directory / "program.bin").read_bytes()


def measured_cycles(code: str, directory: Path, setup: str = "nop") -> int:
    """What the firmware finds between its two reads of CYCCNT, less the four of the reading."""
    image = assemble(PROGRAM.format(code=code, setup=setup), directory)
    BOARD.load_flash_image(image.ljust(BOARD.chip.flash.size_bytes, b"\xff"))
    BOARD.reset_by_pin()
    BOARD.write(0xE000_EDF0, (0xA05F_0001).to_bytes(4, "little"))  # C_DEBUGEN: BKPT halts
    for _ in range(100):
        if int.from_bytes(BOARD.read(0xE000_EDF0, 4), "little") & 1 << 17:  # S_HALT
            return int.from_bytes(BOARD.read(RESULT, 4), "little", signed=True)
    raise AssertionError("the program did not reach its BKPT")


NOPS = "    nop.w\n" * 17


def test_the_published_template_measures_twenty_cycles_a_turn(tmp_path: Path) -> None:
    """17 NOPs, SUBS and BNE, a thousand turns: jnk0le/random, CM3_pipetest_tmpl.S."""
    code = f"    movs.w r9, #1000\n1:\n{NOPS}    subs.w r9, #1\n    bne.w 1b"
    # One cycle more for the MOVS, which the template does before its first read.
    assert measured_cycles(code, tmp_path) == 20_000 + 1


def test_the_delay_loop_takes_three_cycles_a_turn(tmp_path: Path) -> None:
    """SUBS and BNE: ARM CMSIS-DAP, DELAY_SLOW_CYCLES. The last BNE is not taken: one less."""
    long, short = (
        measured_cycles(f"    movw r0, #{n}\n1:  subs r0, #1\n    bne 1b", tmp_path)
        for n in (5000, 1000)
    )
    assert long - short == 3 * 4000


@pytest.mark.parametrize(
    ("code", "cycles"),
    [
        ("ldr r0, [r8]\n ldr r1, [r8, #4]\n ldr r2, [r8, #8]\n ldr r3, [r8, #12]\n adds r4, #1", 6),
        ("ldr r0, [r8]\n str r0, [r8, #4]\n adds r4, #1\n adds r4, #1", 4),
        ("ldmia r8, {r0, r1, r2, r3}\n adds r4, #1\n adds r4, #1", 7),
        ("smlad r0, r1, r2, r3\n smlal r4, r5, r6, r7\n umaal r0, r1, r2, r3", 3),
        ("vdiv.f32 s0, s1, s2\n vadd.f32 s3, s4, s5", 15),
    ],
)
def test_short_sequences(code: str, cycles: int, tmp_path: Path) -> None:
    """Counts of ARM 100166 and of jnk0le/random, cortex_m3m4.md."""
    assert measured_cycles(" " + code, tmp_path) == cycles


@pytest.mark.parametrize(("dividend", "divisor"), [(7, 9), (1000, 3), (0xFFFF_FFFF, 1)])
def test_division_depends_on_its_operands(dividend: int, divisor: int, tmp_path: Path) -> None:
    """Up to 12 cycles (ARM 100166), 3 where the divisor is longer (compendium.i-0.nl)."""
    setup = f"ldr r1, ={dividend}\n ldr r2, ={divisor}"
    cycles = measured_cycles(" udiv r0, r1, r2", tmp_path, setup)
    assert 3 <= cycles <= 12
    quotient_bits = (dividend // divisor).bit_length()
    assert (cycles == 3) == (quotient_bits == 0)
    assert (cycles == 12) == (quotient_bits == 32)
