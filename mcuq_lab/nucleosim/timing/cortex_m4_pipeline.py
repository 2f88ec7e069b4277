"""The pipeline of the Cortex-M4: issue, address generation, data phases, branches, the FPU.

An instruction issues when its words are in the FIFO and nothing holds it back, then occupies the
pipeline for its cycles. What an instruction leaves behind for the next one is the pipeline state,
so a block may be cut anywhere. Sources of the rules, by the tags used below:

TRM     ARM 100166_0001, Cortex-M4 TRM, tables of processor and FPU instructions and their notes
PAIRS   Load/store timings (ARM DDI 0439B; DDI 0337I section 3.3.2; TI SWCU185 repeats it)
JNK0LE  github.com/jnk0le/random, pipeline cycle test/doc/cortex_m3m4.md, measured on STM32F407
DIVISION compendium.i-0.nl, division timing, measured on STM32L4
X25519  github.com/Emill/X25519-Cortex-M4, cycles of each routine in x25519-cortex-m4-gcc.s
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from mcuq_lab.nucleosim.timing.accesses import Where
from mcuq_lab.nucleosim.timing.cost import Cause
from mcuq_lab.nucleosim.timing.fetch import Fetch, refilled, step, words_needed, words_used
from mcuq_lab.nucleosim.timing.instruction import Instruction, Kind
from mcuq_lab.nucleosim.timing.memory import Memory, MemoryTiming

REFILL_EARLY_CYCLES = 1
"""P of the TRM's tables for B, Bcc, BL: the target is fetched while the branch decodes. One more
where the target straddles two words."""
REFILL_LATE_CYCLES = 3
"""P where the target comes from a register or from memory (PAIRS: LDR PC, TBB). For BX: what a
call and return of known cost leave for it, see X25519."""
FP_DIVIDE_CYCLES = 14
FP_ACCUMULATE_CYCLES = 3
DIVIDE_LEAST_CYCLES = 3
"""Where the divisor is longer than the dividend (DIVISION)."""


class Tail(IntEnum):
    """What the instruction before still has to do."""

    NONE = 0
    LOAD = 1
    """The data phase of a load: overlaps only with the address phase of another access."""
    STORE_INDEXED_BY_REGISTER = 2
    """A register-offset store reads its third register a cycle late."""


class State(NamedTuple):
    """The pipeline between two instructions."""

    fetch: Fetch
    tail: Tail = Tail.NONE
    tail_memory: Memory = Memory.SRAM
    """Where the access that still has a data phase goes."""
    write_cycles: int = 0
    """For which the write buffer is busy with a store."""
    late: frozenset[int] = frozenset()
    """Registers that address generation can read only in the second cycle from here."""
    later: frozenset[int] = frozenset()
    """Only in the third: still on the way from memory."""
    fpu_busy_cycles: int = 0
    fp_late: frozenset[int] = frozenset()
    """Single-precision registers whose value arrives one cycle late."""
    after_narrow: bool = False
    """The instruction before was 16 bits wide and lay just before this one."""
    it_left: int = 0
    """Instructions still under an IT."""


class Issue(NamedTuple):
    """One instruction at its place."""

    instruction: Instruction
    address: int
    where: Where | None
    """Of its access, if it has one."""
    code_memory: Memory
    """What it is fetched from."""

    @property
    def upper(self) -> bool:
        """Starts in the upper half of a word."""
        return bool(self.address & 2)

    @property
    def memory(self) -> Memory:
        """What its access goes to; SRAM if nothing is known."""
        return (self.where and self.where.memory) or Memory.SRAM

    @property
    def meets_fetch(self) -> bool:
        """Whether the access takes the memory that code is fetched from, or the bus to it."""
        return self.where is not None and self.memory is self.code_memory


class _Walk:
    """Cycles and fetches while one instruction goes through."""

    def __init__(self, at: Issue, fetch: Fetch, memory: MemoryTiming, causes: list[int]) -> None:
        self.fetch = fetch
        self.memory = memory
        self.cycles = 0
        self.causes = causes
        self._first_word = at.address // 4
        self._line_words = memory.line_words(at.code_memory)

    def spend(
        self,
        cycles: int,
        cause: Cause,
        used_words: int = 0,
        stolen: bool = False,
        accesses: int = 0,
    ) -> None:
        """Let `cycles` pass; the instruction's words leave the FIFO in the first of them.

        `stolen`: the first has no slot for a fetch. `accesses`: in so many of them the memory of
        the code is asked for data, and has no time for another line of code.
        """
        for n in range(cycles):
            taken = stolen or (n < accesses and self._opens_line())
            self.fetch = step(self.fetch, self.memory, used_words, taken)
            self._first_word += used_words
            used_words, stolen = 0, False
        self.cycles += cycles
        self.causes[cause] += cycles

    def _opens_line(self) -> bool:
        """Whether the next word to fetch is the first of a line."""
        ahead = self.fetch.ready + sum(self.fetch.pending)
        return (self._first_word + ahead) % self._line_words == 0

    def wait_until(self, cycle: int, cause: Cause) -> None:
        """Wait for a cycle, counted from where the instruction could have issued."""
        if cycle > self.cycles:
            self.spend(cycle - self.cycles, cause)

    def wait_for_words(self, needed: int) -> None:
        while self.fetch.ready < needed:
            self.spend(1, Cause.FETCH)


def issue(at: Issue, state: State, memory: MemoryTiming, taken: bool, causes: list[int]) -> State:
    """Let one instruction through: adds its cycles to `causes`, returns the pipeline after it."""
    instruction = at.instruction
    walk = _Walk(at, state.fetch, memory, causes)
    needed = words_needed(instruction.wide, at.upper)
    used = words_used(instruction.wide, at.upper)
    if instruction.kind is Kind.IT and state.after_narrow and state.fetch.ready >= needed:
        return _folded(state, instruction, used)
    if _hides(instruction, state):
        walk.spend(1, Cause.ISSUE)
        walk.wait_for_words(needed)
        walk.fetch = walk.fetch._replace(ready=walk.fetch.ready - used)
        return _after(walk, at, state)
    _wait_for_neighbours(walk, at, state)
    walk.wait_for_words(needed)
    further, cause = _further_cycles(at)
    if taken:
        walk.spend(1, Cause.ISSUE, used)
        walk.spend(further, cause)
        early = instruction.kind is Kind.BRANCH
        walk.spend(REFILL_EARLY_CYCLES if early else REFILL_LATE_CYCLES, Cause.BRANCH)
        # A late refill has time for a second word: alignment no longer shows, P stays within 3.
        return State(refilled(memory, 1 if early else 2))
    # A branch that is not taken has fetched its target all the same.
    accesses = _address_phases(at) if at.meets_fetch else 0
    walk.spend(1, Cause.ISSUE, used, instruction.kind is Kind.BRANCH, accesses)
    if further:
        walk.spend(further, cause, accesses=accesses - 1)
    if instruction.kind is Kind.BARRIER_FETCH:
        walk.spend(REFILL_LATE_CYCLES, Cause.BRANCH)
        walk.fetch = refilled(memory, 2)
    return _after(walk, at, state)


def _folded(state: State, instruction: Instruction, used: int) -> State:
    """IT goes with the 16-bit instruction before it, in no time (TRM, note on IT)."""
    fetch = state.fetch._replace(ready=state.fetch.ready - used)
    return state._replace(fetch=fetch, after_narrow=False, it_left=instruction.it_length)


STORES = frozenset((Kind.STORE, Kind.STORE_INDEXED_BY_REGISTER))
_PIPELINED_ACCESSES = STORES | {Kind.LOAD}
_MULTIPLES = frozenset((Kind.LOAD_MULTIPLE, Kind.STORE_MULTIPLE))
_READS_MEMORY = frozenset((Kind.LOAD, Kind.LOAD_MULTIPLE, Kind.FP_LOAD))
_WRITES_MEMORY = STORES | {Kind.STORE_MULTIPLE, Kind.FP_STORE}
_USES_FPU = frozenset(
    (
        Kind.FP_ARITHMETIC,
        Kind.FP_MULTIPLY_ACCUMULATE,
        Kind.FP_DIVIDE,
        Kind.FP_MOVE,
        Kind.FP_LOAD,
        Kind.FP_STORE,
    )
)


def _hides(instruction: Instruction, state: State) -> bool:
    """Whether it costs nothing beyond what the instruction before still has to do.

    JNK0LE: a load, and a register-offset store, eats a NOP that follows, no other instruction.
    """
    return instruction.kind is Kind.NOP and state.tail is not Tail.NONE


def _do_not_pipeline(memory: Memory, tail_memory: Memory) -> bool:
    """Whether an access waits for the load before it because that goes to another memory.

    JNK0LE: accesses pipeline only within one memory, measured on SRAM and CCM. Flash is left out:
    a loop that loads from SRAM and flash by turns takes on an STM32F407 what it takes without
    that wait (Embench's crc32, see the programs).
    """
    return memory is not tail_memory and Memory.FLASH not in (memory, tail_memory)


def _wait_for_neighbours(walk: _Walk, at: Issue, state: State) -> None:
    """Stalls that the instructions before cause."""
    instruction, kind = at.instruction, at.instruction.kind
    if state.tail is Tail.STORE_INDEXED_BY_REGISTER:
        walk.wait_until(1, Cause.MEMORY)
    elif state.tail is Tail.LOAD:
        if kind not in _PIPELINED_ACCESSES:
            walk.wait_until(1, Cause.LOAD_USE)
        elif _do_not_pipeline(at.memory, state.tail_memory):
            walk.wait_until(1, Cause.MEMORY)
        elif kind is Kind.STORE:
            walk.wait_until(walk.memory.store_after_load_stall_cycles[at.memory], Cause.MEMORY)
    if kind in _READS_MEMORY:  # JNK0LE: a load after a store adds a cycle
        walk.wait_until(state.write_cycles, Cause.MEMORY)
    elif kind in _WRITES_MEMORY:
        walk.wait_until(state.write_cycles - 1, Cause.MEMORY)
    # PAIRS, JNK0LE: address generation is a cycle early, reads the register bank, no forwarding
    # A multiple reads its base in its own first cycle (X25519: `add r8, sp, #n; stm r8, {r0-r7}`).
    if kind not in _MULTIPLES:
        if instruction.address_registers & state.late:
            walk.wait_until(1, Cause.LOAD_USE)
        if instruction.address_registers & state.later:
            walk.wait_until(2, Cause.LOAD_USE)
    if kind in _USES_FPU or instruction.fp_sources:
        walk.wait_until(state.fpu_busy_cycles, Cause.EXECUTE)
        if instruction.fp_sources & state.fp_late:
            walk.spend(1, Cause.EXECUTE)


def _extra_accesses(at: Issue) -> int:
    """Of one that is not aligned: a byte, a halfword and a byte, or two halves (PAIRS)."""
    if at.where is None or at.instruction.kind not in _PIPELINED_ACCESSES:
        return 0  # the others fault
    match at.instruction.access.size_bytes:
        case 2:
            return at.where.modulo(2) or 0
        case 4:
            residue = at.where.modulo(4) or 0
            return 2 if residue & 1 else residue >> 1
        case _:
            return 0


def _address_phases(at: Issue) -> int:
    """Accesses that the bus sees."""
    if at.instruction.kind in _MULTIPLES:
        return at.instruction.register_count
    return 1 + _extra_accesses(at)


_ONE_CYCLE = frozenset((Kind.ALU, Kind.NOP, Kind.IT)) | STORES


def _further_cycles(at: Issue) -> tuple[int, Cause]:
    """Cycles beyond the first, neighbours apart, and what they go to."""
    instruction = at.instruction
    if instruction.kind in _ONE_CYCLE:  # most instructions: past all the cases in one step
        return 0, Cause.EXECUTE
    match instruction.kind:
        case Kind.LOAD_MULTIPLE | Kind.STORE_MULTIPLE:
            return instruction.register_count, Cause.MEMORY
        case Kind.LOAD if instruction.writes_pc:
            return 1 + _extra_accesses(at), Cause.LOAD_USE
        case Kind.LOAD:
            return _extra_accesses(at), Cause.MEMORY
        case Kind.FP_LOAD:
            return 1, Cause.LOAD_USE
        case Kind.FP_STORE:
            return 1, Cause.MEMORY
        case Kind.FP_MOVE:
            return max(0, instruction.register_count - 1), Cause.EXECUTE
        case Kind.FP_MULTIPLY_ACCUMULATE:
            return FP_ACCUMULATE_CYCLES - 1, Cause.EXECUTE
        case Kind.DIVIDE:
            return DIVIDE_LEAST_CYCLES - 1, Cause.EXECUTE
        case Kind.BRANCH_TABLE:
            return 2, Cause.LOAD_USE  # PAIRS: two for the load, one to add
        case _:
            return 0, Cause.EXECUTE


_TAILS = {
    Kind.LOAD: Tail.LOAD,
    Kind.STORE_INDEXED_BY_REGISTER: Tail.STORE_INDEXED_BY_REGISTER,
}


_NONE: frozenset[int] = frozenset()


def _after(walk: _Walk, at: Issue, state: State) -> State:
    instruction, kind = at.instruction, at.instruction.kind
    busy = max(0, state.fpu_busy_cycles - walk.cycles)
    # A quotient under way stays late until the FPU is free again.
    fp_late = instruction.fp_results | state.fp_late if busy else instruction.fp_results
    if kind is Kind.FP_DIVIDE:
        busy = FP_DIVIDE_CYCLES - 1  # TRM: integer instructions go on meanwhile
    single = kind is Kind.LOAD
    results, loaded = instruction.results, instruction.loaded
    return State(
        fetch=walk.fetch,
        tail=_TAILS.get(kind, Tail.NONE),
        tail_memory=at.memory if single else Memory.SRAM,
        write_cycles=_write_cycles(walk, at, state),
        late=results if single or not loaded else results | loaded,
        later=loaded if single else _NONE,
        fpu_busy_cycles=busy,
        fp_late=fp_late,
        after_narrow=not instruction.wide,
        it_left=instruction.it_length if kind is Kind.IT else max(0, state.it_left - 1),
    )


def _write_cycles(walk: _Walk, at: Issue, state: State) -> int:
    """PAIRS: the write buffer takes a store over, so that it delays accesses only."""
    match at.instruction.kind:
        case Kind.STORE:
            return 1 + _extra_accesses(at)
        case Kind.STORE_INDEXED_BY_REGISTER:
            return _extra_accesses(at)  # its own second cycle is the data phase
        case _:
            return max(0, state.write_cycles - walk.cycles)
