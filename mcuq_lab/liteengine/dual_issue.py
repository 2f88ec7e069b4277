"""Generated assembly in the order that suits the Cortex-M7, which issues two instructions a cycle.

Tiles are written in the order of the Cortex-M4, loads in groups. On the M7 a load is free beside a
multiplication, but a product waits two cycles for a loaded factor. So each run of instructions
between labels and branches is ordered anew: cycle by cycle, first what the longest chain of others
waits for. Registers stay as they are; so does what each instruction reads, so that results do.

The rules are those that jnk0le measured on STM32H743 (github.com/jnk0le/random, `pipeline cycle
test/doc/cortex_m7.md`) and, for saturation and addresses, those of LLVM's `ARMScheduleM7.td`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby

from mcuq_lab.liteengine.thumb import FLAGS, MEMORY, Instruction, Need, Producer, Unit, parse
from mcuq_lab.sources import SourceFile

DUAL_ISSUE_CORE = "cortex-m7"

_NEEDS = tuple(Need)
_LATENCY_CYCLES = {
    # from the issue of the producer to that of the consumer, by what it is needed for:
    # address, shifter, ALU, factor, addend, stored, moved to the FPU
    Producer.SIMPLE: (1, 1, 0, 0, 0, 0, 1),
    Producer.ALU: (2, 2, 1, 1, 0, 0, 1),
    Producer.SATURATION: (3, 3, 2, 2, 1, 0, 2),
    Producer.PRODUCT: (4, 3, 2, 2, 1, 1, 1),
    Producer.WORD: (2, 2, 1, 2, 0, 0, 1),
    Producer.PART: (3, 3, 2, 2, 1, 0, 2),
    Producer.FROM_FPU: (2, 2, 1, 1, 0, 0, 1),
    Producer.TO_FPU: (3, 3, 3, 3, 3, 1, 3),
}
_SINGLE = (Unit.BITS, Unit.MULTIPLIER, Unit.STORE)
# A line of assembly in a generated C file.
_BEFORE, _AFTER = '        "', '\\n"'


@dataclass
class _Node:
    """An instruction of a run, and what must not be issued before it."""

    instruction: Instruction
    followers: list[tuple[int, int]] = field(default_factory=list)
    waits_for: int = 0
    ready: int = 0
    priority: int = 0


def scheduled_file(file: SourceFile) -> SourceFile:
    """The file with the assembly of its naked functions in the order of the Cortex-M7."""
    return _scheduled_file(file) if "__attribute__((naked" in file.text else file


def _is_assembly(line: str) -> bool:
    return line.startswith(_BEFORE) and line.endswith(_AFTER)


@cache
def _scheduled_file(file: SourceFile) -> SourceFile:
    text: list[str] = []
    for is_assembly, group in groupby(file.text.split("\n"), _is_assembly):
        if is_assembly:
            assembly = [line.removeprefix(_BEFORE).removesuffix(_AFTER) for line in group]
            text += [f"{_BEFORE}{line}{_AFTER}" for line in schedule_lines(assembly)]
        else:
            text += group
    return SourceFile(file.name, "\n".join(text))


def schedule_lines(lines: Sequence[str]) -> list[str]:
    """The same instructions; labels, branches and what is not known stay in their places."""
    result: list[str] = []
    run: list[Instruction] = []
    left = 0  # lines that an IT makes conditional
    for line in lines:
        instruction = None if left else parse(line)
        left = max(0, left - 1) or (len(line.split()[0]) - 1 if line.startswith("it") else 0)
        if instruction is not None:
            run.append(instruction)
            continue
        result += [each.line for each in _ordered(run)]
        result.append(line)
        run = []
    return result + [each.line for each in _ordered(run)]


def _ordered(run: list[Instruction]) -> list[Instruction]:
    nodes = _dependencies(run)
    open_nodes = {i for i, node in enumerate(nodes) if not node.waits_for}
    order: list[Instruction] = []
    cycle = 0
    while open_nodes:
        older: Instruction | None = None
        for _ in range(2):
            fitting = [
                i
                for i in open_nodes
                if nodes[i].ready <= cycle
                and (older is None or _may_pair(older, nodes[i].instruction))
            ]
            if not fitting:
                break
            chosen = min(fitting, key=lambda i: (-nodes[i].priority, i))
            older = nodes[chosen].instruction
            order.append(older)
            open_nodes.remove(chosen)
            for follower, latency in nodes[chosen].followers:
                node = nodes[follower]
                node.ready = max(node.ready, cycle + latency)
                node.waits_for -= 1
                if not node.waits_for:
                    open_nodes.add(follower)
        cycle += 1
    return order


def _dependencies(run: list[Instruction]) -> list[_Node]:
    """Nodes with an edge for every pair that must keep its order; priorities are path lengths."""
    nodes = [_Node(instruction) for instruction in run]
    writer: dict[str, int] = {}
    readers: dict[str, list[int]] = {}

    def follows(first: int, second: int, latency: int) -> None:
        nodes[first].followers.append((second, latency))
        nodes[second].waits_for += 1

    for i, instruction in enumerate(run):
        for place, need in instruction.reads:
            if place in writer:
                follows(writer[place], i, _latency(run[writer[place]], place, need))
            readers.setdefault(place, []).append(i)
        for place in instruction.writes:
            for reader in readers.pop(place, ()):
                if reader != i:
                    follows(reader, i, 0)
            if place in writer:
                follows(writer[place], i, 0 if place in (FLAGS, MEMORY) else 1)
            writer[place] = i
    for node in reversed(nodes):
        node.priority = max(
            (latency + nodes[follower].priority for follower, latency in node.followers),
            default=0,
        ) + (node.instruction.unit is not Unit.ALU)
    return nodes


def _latency(producer: Instruction, place: str, need: Need) -> int:
    if place in (MEMORY, FLAGS):
        return 1
    if producer.unit in (Unit.LOAD, Unit.STORE) and place != producer.writes[0]:
        return 1  # a base that the access moved
    return _LATENCY_CYCLES[producer.producer][_NEEDS.index(need)]


def _may_pair(older: Instruction, younger: Instruction) -> bool:
    units = {older.unit, younger.unit}
    if len(units) == 1 and older.unit in _SINGLE:
        return False
    if units == {Unit.MULTIPLIER, Unit.STORE}:
        return False
    if younger.shifts and (older.shifts or older.unit is Unit.BITS):
        return False
    if older.shifts and younger.unit is Unit.BITS:
        return False
    if older.unit is younger.unit is Unit.LOAD:
        banks = older.bank, younger.bank
        return None not in banks and banks[0][1] != banks[1][1]
    return True
