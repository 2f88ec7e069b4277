"""Thumb-2 machine code to timing classes; capstone does the decoding."""

from collections.abc import Iterator
from functools import lru_cache

import capstone
from capstone import arm

from mcuq_lab.nucleosim.timing.instruction import Access, Instruction, Kind

PC = 15

_LOADS = frozenset(
    [
        "ldr",
        "ldrb",
        "ldrh",
        "ldrsb",
        "ldrsh",
        "ldrt",
        "ldrbt",
        "ldrht",
        "ldrsbt",
        "ldrsht",
        "ldrex",
        "ldrexb",
        "ldrexh",
        # A store that answers with a register is pipelined like a load (ARM DDI 0337I, 3.3.2).
        "strex",
        "strexb",
        "strexh",
    ]
)
_STORES = frozenset(["str", "strb", "strh", "strt", "strbt", "strht"])
_LOAD_MULTIPLES = frozenset(["ldm", "ldmdb", "pop", "ldrd"])
_STORE_MULTIPLES = frozenset(["stm", "stmdb", "push", "strd"])
_DIRECT_BRANCHES = frozenset(["b", "bl", "cbz", "cbnz"])
_INDIRECT_BRANCHES = frozenset(["bx", "blx"])
_NOPS = frozenset(("nop", "nop.w"))
_FP_ACCUMULATES = frozenset(["vmla", "vmls", "vnmla", "vnmls", "vfma", "vfms", "vfnma", "vfnms"])
_FP_DIVIDES = frozenset(["vdiv", "vsqrt"])
_FP_MOVES = frozenset(["vmov", "vmrs", "vmsr", "fmstat"])
_FP_LOAD_MULTIPLES = frozenset(["vldmia", "vldmdb", "vpop"])
_FP_STORE_MULTIPLES = frozenset(["vstmia", "vstmdb", "vpush"])


def _decoder() -> capstone.Cs:
    decoder = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
    decoder.detail = True
    return decoder


_DECODER = _decoder()
_CORE_REGISTER = {
    **{getattr(arm, f"ARM_REG_R{n}"): n for n in range(13)},
    arm.ARM_REG_SP: 13,
    arm.ARM_REG_LR: 14,
    arm.ARM_REG_PC: PC,
}
_FP_REGISTER = {
    **{getattr(arm, f"ARM_REG_S{n}"): (n,) for n in range(32)},
    **{getattr(arm, f"ARM_REG_D{n}"): (2 * n, 2 * n + 1) for n in range(16)},
}
_VECTOR_REGISTERS = frozenset(
    (
        *(getattr(arm, f"ARM_REG_Q{n}") for n in range(16)),
        *(getattr(arm, f"ARM_REG_D{n}") for n in range(16, 32)),
    )
)
"""Of Advanced SIMD, which Capstone decodes too and the ARMv7E-M does not have."""


def is_wide(first_halfword: int) -> bool:
    """Whether the halfword starts a 32-bit encoding (ARMv7-M ARM, A5.1)."""
    return first_halfword >= 0xE800


@lru_cache(maxsize=1 << 16)
def decode(encoding: bytes) -> Instruction:
    """Timing view of one instruction of two or four bytes, wherever it lies.

    Total: bytes that are no instruction of the ARMv7E-M come back as one ALU cycle, since the
    core that executes them is the one to object.
    """
    wide = len(encoding) == 4
    decoded = next(_DECODER.disasm(encoding, 0, 1), None)
    if decoded is None:
        return Instruction(Kind.ALU, wide)
    # Capstone's name of the instruction: no condition, width, data type or flag suffix.
    mnemonic = decoded.insn_name()
    if mnemonic.startswith("v") or mnemonic in _FP_MOVES:
        if any(
            operand.type == arm.ARM_OP_REG and operand.reg in _VECTOR_REGISTERS
            for operand in decoded.operands
        ):
            return Instruction(Kind.ALU, wide)
        return _decode_fp(decoded, mnemonic, wide)
    return _decode_core(decoded, mnemonic, wide)


def instructions(code: bytes) -> Iterator[tuple[int, bytes, Instruction]]:
    """Offset, encoding and timing view of each instruction of a run of code."""
    offset = 0
    while offset + 1 < len(code):
        wide = is_wide(int.from_bytes(code[offset : offset + 2], "little"))
        encoding = code[offset : offset + (4 if wide and offset + 4 <= len(code) else 2)]
        yield offset, encoding, decode(encoding)
        offset += len(encoding)


def _core_operands(decoded: capstone.CsInsn) -> list[int]:
    return [
        _CORE_REGISTER[operand.reg]
        for operand in decoded.operands
        if operand.type == arm.ARM_OP_REG and operand.reg in _CORE_REGISTER
    ]


def _fp_operands(decoded: capstone.CsInsn) -> list[tuple[int, ...]]:
    return [
        _FP_REGISTER[operand.reg]
        for operand in decoded.operands
        if operand.type == arm.ARM_OP_REG and operand.reg in _FP_REGISTER
    ]


def _address(decoded: capstone.CsInsn) -> tuple[frozenset[int], bool]:
    """Registers of the memory operand (PC left out: always ready), and whether one is an index."""
    for operand in decoded.operands:
        if operand.type == arm.ARM_OP_MEM:
            named = (operand.mem.base, operand.mem.index)
            registers = frozenset(_CORE_REGISTER[r] for r in named if r in _CORE_REGISTER)
            return registers - {PC}, operand.mem.index in _CORE_REGISTER
    return frozenset(), False


def _access(decoded: capstone.CsInsn, size_bytes: int, count: int = 1) -> Access | None:
    """Access of an instruction with a memory operand."""
    for operand in decoded.operands:
        if operand.type == arm.ARM_OP_MEM:
            indexed = operand.mem.index in _CORE_REGISTER
            return Access(
                base=_CORE_REGISTER[operand.mem.base],
                offset=None if indexed else operand.mem.disp,
                size_bytes=size_bytes,
                count=count,
                index_shift=operand.shift.value if indexed else 0,
                writes_back=decoded.writeback,
            )
    return None


def _size_bytes(mnemonic: str) -> int:
    """Bytes that a single load or store moves, by the last letters of its name."""
    kind = mnemonic.removeprefix("ldr").removeprefix("str").removeprefix("ex").removesuffix("t")
    return {"b": 1, "h": 2}.get(kind[-1:], 4)


def _multiple_access(base: int, count: int, downwards: bool, writes_back: bool) -> Access:
    """Access of a load or store multiple of words: below its base or from it on."""
    return Access(base, -4 * count if downwards else 0, 4, count, writes_back=writes_back)


def _decode_core(decoded: capstone.CsInsn, mnemonic: str, wide: bool) -> Instruction:
    operands = _core_operands(decoded)
    written = frozenset(_CORE_REGISTER[r] for r in decoded.regs_access()[1] if r in _CORE_REGISTER)
    if mnemonic == "it":
        return Instruction(Kind.IT, wide, it_length=len(decoded.mnemonic) - 1)
    if decoded.mnemonic in _NOPS:
        return Instruction(Kind.NOP, wide)
    if mnemonic == "isb":
        return Instruction(Kind.BARRIER_FETCH, wide)
    if mnemonic in ("tbb", "tbh"):
        return Instruction(
            Kind.BRANCH_TABLE,
            wide,
            address_registers=_address(decoded)[0],
            writes_pc=True,
            access=_access(decoded, 1 if mnemonic == "tbb" else 2),
        )
    if mnemonic in _DIRECT_BRANCHES:
        conditional = mnemonic in ("cbz", "cbnz") or decoded.cc != arm.ARM_CC_AL
        return Instruction(Kind.BRANCH, wide, writes_pc=True, conditional=conditional)
    if mnemonic in _INDIRECT_BRANCHES:
        return Instruction(Kind.BRANCH_INDIRECT, wide, writes_pc=True)
    if mnemonic in _LOADS:
        address, _ = _address(decoded)
        loaded = frozenset(operands[:1])
        return Instruction(
            Kind.LOAD,
            wide,
            address_registers=address,
            results=(written & address) - loaded if decoded.writeback else frozenset(),
            loaded=loaded,
            writes_pc=PC in loaded,
            access=_access(decoded, _size_bytes(mnemonic)),
        )
    if mnemonic in _STORES:
        address, indexed = _address(decoded)
        return Instruction(
            Kind.STORE_INDEXED_BY_REGISTER if indexed else Kind.STORE,
            wide,
            address_registers=address,
            results=written & address if decoded.writeback else frozenset(),
            access=_access(decoded, _size_bytes(mnemonic)),
        )
    if mnemonic in _LOAD_MULTIPLES or mnemonic in _STORE_MULTIPLES:
        return _decode_multiple(decoded, mnemonic, wide, operands)
    if mnemonic in ("udiv", "sdiv"):
        return Instruction(
            Kind.DIVIDE,
            wide,
            results=written,
            divide=(mnemonic == "sdiv", operands[-2], operands[-1]),
        )
    if PC in written and operands and operands[0] == PC:
        return Instruction(Kind.BRANCH_INDIRECT, wide, writes_pc=True)
    return Instruction(Kind.ALU, wide, results=written - {PC})


def _decode_multiple(
    decoded: capstone.CsInsn, mnemonic: str, wide: bool, operands: list[int]
) -> Instruction:
    downwards = mnemonic in ("push", "stmdb", "ldmdb")
    if mnemonic in ("push", "pop"):
        base, moved = 13, operands
        access = _multiple_access(base, len(moved), downwards, writes_back=True)
    elif mnemonic in ("ldrd", "strd"):
        address, _ = _address(decoded)
        base, moved = next(iter(address), PC), operands
        access = _access(decoded, 4, count=2)
    else:
        base, moved = operands[0], operands[1:]
        access = _multiple_access(base, len(moved), downwards, decoded.writeback)
    loads = mnemonic in _LOAD_MULTIPLES
    return Instruction(
        Kind.LOAD_MULTIPLE if loads else Kind.STORE_MULTIPLE,
        wide,
        address_registers=frozenset({base}) - {PC},
        # The base is written back while the first words move: only the last word comes late.
        loaded=frozenset(moved[-1:]) if loads else frozenset(),
        register_count=len(moved),
        writes_pc=loads and PC in moved,
        access=access,
    )


def _decode_fp(decoded: capstone.CsInsn, mnemonic: str, wide: bool) -> Instruction:
    core = _core_operands(decoded)
    fp = _fp_operands(decoded)
    flat = [frozenset(registers) for registers in fp]
    everything = frozenset().union(*flat)
    if mnemonic in ("vldr", "vstr"):
        kind, multiple = (
            (Kind.FP_LOAD, Kind.LOAD_MULTIPLE)
            if mnemonic == "vldr"
            else (Kind.FP_STORE, Kind.STORE_MULTIPLE)
        )
        return Instruction(
            kind if len(everything) == 1 else multiple,
            wide,
            address_registers=_address(decoded)[0],
            register_count=len(everything),
            fp_sources=everything if mnemonic == "vstr" else frozenset(),
            access=_access(decoded, 4, count=len(everything)),
        )
    if mnemonic in _FP_LOAD_MULTIPLES or mnemonic in _FP_STORE_MULTIPLES:
        stores = mnemonic in _FP_STORE_MULTIPLES
        base = core[0] if core else 13
        downwards = mnemonic in ("vldmdb", "vstmdb", "vpush")
        writes_back = decoded.writeback or not core
        return Instruction(
            Kind.STORE_MULTIPLE if stores else Kind.LOAD_MULTIPLE,
            wide,
            address_registers=frozenset({base}),
            register_count=len(everything),
            fp_sources=everything if stores else frozenset(),
            access=_multiple_access(base, len(everything), downwards, writes_back),
        )
    if mnemonic in _FP_MOVES:
        first_is_core = bool(decoded.operands) and decoded.operands[0].reg in _CORE_REGISTER
        to_core = first_is_core and mnemonic == "vmov"
        if to_core or not core:
            sources = everything if to_core else frozenset().union(*flat[1:])
        else:
            sources = frozenset()
        return Instruction(
            Kind.FP_MOVE,
            wide,
            results=frozenset(core) if to_core else frozenset(),
            register_count=len(core),
            fp_sources=sources,
        )
    if mnemonic in _FP_ACCUMULATES:
        return Instruction(
            Kind.FP_MULTIPLY_ACCUMULATE,
            wide,
            fp_sources=frozenset().union(*flat[1:]),
            fp_results=flat[0],
        )
    compares = mnemonic in ("vcmp", "vcmpe")
    return Instruction(
        Kind.FP_DIVIDE if mnemonic in _FP_DIVIDES else Kind.FP_ARITHMETIC,
        wide,
        fp_sources=everything if compares else frozenset().union(*flat[1:]),
        fp_results=frozenset() if compares or not flat else flat[0],
    )
