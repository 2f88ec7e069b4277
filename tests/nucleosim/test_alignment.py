"""Which accesses fault when unaligned, and that checks at block entry find every one of them."""

import random

import capstone
import pytest

from mcuq_lab.nucleosim.engine.alignment import entry_checks
from mcuq_lab.nucleosim.engine.machine import Machine
from mcuq_lab.nucleosim.engine.memory import HostMemory
from mcuq_lab.nucleosim.engine.stop import StopKind
from mcuq_lab.nucleosim.thumb import ALWAYS, instructions
from mcuq_lab.nucleosim.timing import timing_model

RAM = 0x20000000
FAULTING = {"ldm", "ldmdb", "stm", "stmdb", "ldrd", "strd", "ldrex", "strex", "vldr", "vstr"}
FAULTING |= {"vldmia", "vldmdb", "vstmia", "vstmdb"}
OLD_NAMES = {"fldmiax": "vldmia", "fldmdbx": "vldmdb", "fstmiax": "vstmia", "fstmdbx": "vstmdb"}
STACK_AND_CODE = {"sp", "pc"}


def code_of(*halfwords: int) -> bytes:
    return b"".join(halfword.to_bytes(2, "little") for halfword in halfwords)


def test_classes_agree_with_a_decoder():
    decoder = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
    decoder.detail = True
    source = random.Random(1)
    seen = set()
    for _ in range(30_000):
        first = source.choice([source.randrange(0xC000, 0xD000), source.randrange(0xE800, 0xF000)])
        code = code_of(first, source.randrange(0x10000))
        decoded = next(decoder.disasm(code, 0, 1), None)
        # Half precision and test target came after ARMv7-M.
        if decoded is None or ".16" in decoded.mnemonic or decoded.mnemonic.startswith("tt"):
            continue
        (instruction, *_) = instructions(code)
        name = OLD_NAMES.get(decoded.insn_name(), decoded.insn_name())
        if name in FAULTING:
            memory = [o.mem.base for o in decoded.operands if o.type == capstone.arm.ARM_OP_MEM]
            base = decoded.reg_name(memory[0] if memory else decoded.operands[0].reg)
            seen.add(name)
            expected = None if base in STACK_AND_CODE else base
        else:
            expected = None
        names = {9: "sb", 10: "sl", 11: "fp", 12: "ip", 14: "lr"}
        found = instruction.aligned_base
        found_name = None if found is None else names.get(found, f"r{found}")
        assert found_name == expected, f"{code.hex()} {decoded.mnemonic} {decoded.op_str}"
    assert seen == FAULTING


def test_conditions_of_a_conditional_block():
    # cmp r0, #0; ittee ne; four movs; nop
    code = code_of(0x2800, 0xBF1E, 0x2101, 0x2102, 0x2103, 0xBF00, 0xBF00)
    assert [i.condition for i in instructions(code)] == [ALWAYS, ALWAYS, 1, 1, 1, ALWAYS, ALWAYS]
    code = code_of(0xBF16, 0x2101, 0x2102, 0x2103, 0xBF00)  # itet ne
    assert [i.condition for i in instructions(code)] == [ALWAYS, 1, 0, 1, ALWAYS]


@pytest.mark.parametrize(
    ("code", "registers", "all_known", "kept"),
    [
        (code_of(0x2101), (), True, True),
        (code_of(0xE9D4, 0x0100), ((4, 0),), True, True),  # ldrd r0, r1, [r4]
        (code_of(0x3406, 0xE9D4, 0x0100), ((4, 2),), True, False),  # adds r4, #6
        (code_of(0xE8F4, 0x0102), ((4, 0),), True, True),  # ldrd r0, r1, [r4], #8
        (code_of(0xCC03), ((4, 0),), True, True),  # ldm r4!, {r0, r1}
        (code_of(0x6824, 0xE9D4, 0x0100), (), False, True),  # ldr r4, [r4]
        (code_of(0xEB05, 0x0483, 0xCC03), ((5, 0),), True, True),  # add r4, r5, r3, lsl #2
        (code_of(0x462C, 0xE9D4, 0x0100), ((5, 0),), True, True),  # mov r4, r5
        (code_of(0xF815, 0x4B01, 0xE9D5, 0x0100), ((5, 1),), True, False),  # ldrb r4, [r5], #1
    ],
)
def test_entry_checks(code, registers, all_known, kept):
    checks = entry_checks(code)
    assert (checks.registers, checks.all_known, checks.kept) == (registers, all_known, kept)


class Program:
    """A random loop over pointers in r4 to r7, and what becomes of them, by plain arithmetic."""

    def __init__(self, source: random.Random) -> None:
        self.halfwords: list[int] = []
        self.steps: list = []
        for _ in range(source.randrange(2, 9)):
            a, b = source.randrange(4, 8), source.randrange(4, 8)
            constant = source.choice([0, 1, 2, 4, 4, 8, 8, 12])
            kind = source.choice(["add", "sub", "mov", "load", "load", "post", "index"])
            self.halfwords += {
                "add": [0x3000 | a << 8 | constant],
                "sub": [0x3800 | a << 8 | constant],
                "mov": [0x4600 | b << 3 | a],
                "load": [0xE9D0 | a, 0x0100],
                "post": [0xE8F0 | a, 0x0102],
                "index": [0xEB00 | a, b << 8 | 2 << 6 | 3],
            }[kind]
            self.steps.append((kind, a, b, constant))
        back = -(2 * len(self.halfwords) + 6) // 2
        # subs r2, #1; bne to the start; bkpt
        self.halfwords += [0x3A01, 0xD100 | back + 0 & 0xFF, 0xBE00]

    def faults(self, pointers: dict[int, int], passes: int, r3: int) -> int | None:
        """Pass at which it faults; None if it does not."""
        pointers = dict(pointers)
        for count in range(passes):
            for kind, a, b, constant in self.steps:
                if kind in ("load", "post") and pointers[a] & 3:
                    return count
                pointers[a if kind != "index" else b] = {
                    "add": pointers[a] + constant,
                    "sub": pointers[a] - constant,
                    "mov": pointers[b],
                    "load": pointers[a],
                    "post": pointers[a] + 8,
                    "index": pointers[a] + 4 * r3,
                }[kind]
        return None


def test_random_loops_fault_when_they_should():
    machine = Machine("cortex-m4", timing_model("cortex-m4"))
    ram = HostMemory(RAM, 0x40000)
    machine.map.add_ram(ram)
    source = random.Random(2)
    faulted = 0
    for _ in range(150):
        program = Program(source)
        code = code_of(*program.halfwords)
        ram.write(RAM, code)
        machine.code_changed(RAM, RAM + len(code))
        pointers = {n: RAM + 0x20000 + source.choice([0, 0, 0, 4, 8, 2]) for n in range(4, 8)}
        passes = source.randrange(1, 9)
        for number, value in {**pointers, 2: passes, 3: 1}.items():
            machine.registers.write(number, value)
        machine.registers.pc = RAM
        stop = machine.run(machine.cycles + 100_000)
        expected = program.faults(pointers, passes, 1)
        faulted += expected is not None
        if expected is None:
            assert stop.kind is StopKind.BKPT, program.steps
        else:
            assert stop.kind is StopKind.UNALIGNED, program.steps
            assert passes - machine.registers.read(2) == expected, program.steps
    assert 20 < faulted < 130
