"""The form of an instruction: what it is called and what kinds of operands it has.

Forms tell encodings and behaviours apart, not registers, constants or conditions: `adds.n r, r, #`.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import capstone
from capstone import arm
from elftools.elf.elffile import ELFFile

_DECODER = capstone.Cs(
    capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS | capstone.CS_MODE_V8
)
_DECODER.detail = True
_EXECUTABLE = 4  # SHF_EXECINSTR
_WITH_LIST = ("ldm", "stm", "push", "pop", "vldm", "vstm", "vpush", "vpop")
_SPECIAL = {arm.ARM_REG_SP: "sp", arm.ARM_REG_PC: "pc"}
_SHIFTS = {
    arm.ARM_SFT_ASR: "asr",
    arm.ARM_SFT_LSL: "lsl",
    arm.ARM_SFT_LSR: "lsr",
    arm.ARM_SFT_ROR: "ror",
    arm.ARM_SFT_RRX: "rrx",
}


def forms_in(path: Path, first_symbol: str | None = None) -> Counter[str]:
    """How often each form stands in the code of an ELF file; from a symbol on, if one is named."""
    found: Counter[str] = Counter()
    with path.open("rb") as file:
        elf = ELFFile(file)
        for index, section in enumerate(elf.iter_sections()):
            if section["sh_flags"] & _EXECUTABLE and section["sh_size"]:
                for code in _code(elf, index, section, first_symbol):
                    found.update(_forms(code))
    return found


def _code(elf: ELFFile, index: int, section, first_symbol: str | None) -> list[bytes]:
    """The runs of instructions in a section, without the data between (AAELF: $t and $d)."""
    data, start = section.data(), section["sh_addr"]
    marks, first = [], 0
    for symbol in elf.get_section_by_name(".symtab").iter_symbols():
        if symbol["st_shndx"] == index:
            at = (symbol["st_value"] & ~1) - start
            if symbol.name[:2] in ("$t", "$d"):
                marks.append((at, symbol.name[:2] == "$t"))
            elif symbol.name == first_symbol:
                first = at
    marks.sort()
    ends = [at for at, _ in marks[1:]] + [len(data)]
    return [
        data[max(at, first) : end]
        for (at, is_code), end in zip(marks, ends, strict=True)
        if is_code and end > first
    ]


def _forms(code: bytes) -> list[str]:
    forms = []
    size = 0
    for decoded in _DECODER.disasm(code, 0):
        forms.append(_form(decoded))
        size += decoded.size
    assert size == len(code), f"not decoded: {code[size : size + 4].hex()}"
    return forms


def _form(decoded: capstone.CsInsn) -> str:
    width = "n" if decoded.size == 2 else "w"
    suffix = decoded.mnemonic.partition(".")[2].removesuffix("w").rstrip(".")
    name = decoded.insn_name() + ("s" if decoded.update_flags else "")
    if suffix and not name.endswith(suffix):
        name += f".{suffix}"
    last = decoded.operands[-1] if decoded.operands else None
    operands = [_operand(decoded, operand, operand is last) for operand in decoded.operands]
    if decoded.insn_name().startswith(_WITH_LIST):
        first = 0 if decoded.insn_name().endswith(("push", "pop")) else 1
        operands[first:] = ["{" + ", ".join(sorted(set(operands[first:]))) + "}"]
    return f"{name}.{width} {', '.join(operands)}{'!' if decoded.writeback else ''}".strip()


def _operand(decoded: capstone.CsInsn, operand, is_last: bool) -> str:
    if operand.type == arm.ARM_OP_REG:
        text = _register(decoded, operand.reg)
    elif operand.type == arm.ARM_OP_MEM:
        memory = operand.mem
        text = "[" + _register(decoded, memory.base)
        if memory.index:
            text += ", r, lsl" if memory.lshift else ", r"
        elif is_last:
            text += ", #-" if memory.disp < 0 else ", #"
        return text + "]"
    elif operand.type in (arm.ARM_OP_IMM, arm.ARM_OP_FP):
        return "#"
    else:
        return "system"
    shift = operand.shift.type
    if shift == arm.ARM_SFT_INVALID:
        return text
    return f"{text}, {_SHIFTS.get(shift, 'by register')}"


def _register(decoded: capstone.CsInsn, register: int) -> str:
    if register in _SPECIAL:
        return _SPECIAL[register]
    name = decoded.reg_name(register) or ""
    return name[0] if name[:1] in ("s", "d") and name[1:].isdigit() else "r"
