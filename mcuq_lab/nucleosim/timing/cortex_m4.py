"""The Cortex-M4 pipeline: issue, address generation, the data phase of loads, branches, the FPU.

An instruction issues when its words are in the FIFO and nothing holds it back, then occupies the
pipeline for its cycles. What an instruction leaves behind for the next one is the pipeline state,
so a block may be cut anywhere. Sources of the rules, by the tags used below:

TRM     ARM 100166_0001, Cortex-M4 TRM, tables of processor and FPU instructions and their notes
PAIRS   Load/store timings (ARM DDI 0337I section 3.3.2; TI SWCU185 repeats it for the M4)
JNK0LE  github.com/jnk0le/random, pipeline cycle test/doc/cortex_m3m4.md, measured on STM32F407
X25519  github.com/Emill/X25519-Cortex-M4, cycles of each routine in x25519-cortex-m4-gcc.s
"""

from enum import IntEnum
from typing import NamedTuple

from mcuq_lab.nucleosim.timing.cost import BlockCost, DynamicCost, Place
from mcuq_lab.nucleosim.timing.decode import instructions
from mcuq_lab.nucleosim.timing.fetch import (
    Fetch,
    refilled,
    step,
    words_needed,
    words_used,
)
from mcuq_lab.nucleosim.timing.instruction import Instruction, Kind
from mcuq_lab.nucleosim.timing.memory import ZERO_WAIT_STATES, MemoryTiming

STATE_LIMIT = 4096

REFILL_EARLY_CYCLES = 1
"""P of the TRM's tables for B, Bcc, BL: the target is fetched while the branch decodes. One more
where the target straddles two words."""
REFILL_LATE_CYCLES = 3
"""P where the target comes from a register or from memory (PAIRS: LDR PC, TBB). For BX: what a
call and return of known cost leave for it, see X25519."""
FP_DIVIDE_CYCLES = 14
FP_ACCUMULATE_CYCLES = 3
DIVIDE_LEAST_CYCLES = 2


class Tail(IntEnum):
    """What the instruction before still has to do."""

    NONE = 0
    LOAD = 1
    """The data phase of a load: overlaps only with the address phase of another access."""
    STORE = 2
    """The data phase of a store in the write buffer: only a load has to wait for it."""
    STORE_INDEXED_BY_REGISTER = 3
    """A register-offset store reads its third register a cycle late."""


class State(NamedTuple):
    """The pipeline between two instructions."""

    fetch: Fetch
    tail: Tail = Tail.NONE
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


class _Walk:
    """Cycles and state while a block is walked; lives for one call."""

    def __init__(self, state: State, memory: MemoryTiming) -> None:
        self.state = state
        self.fetch = state.fetch
        self.memory = memory
        self.cycles = 0

    def spend(self, cycles: int, used_words: int = 0, stolen: bool = False) -> None:
        """Let `cycles` pass; the instruction leaves the FIFO in the first of them."""
        for _ in range(cycles):
            self.fetch = step(self.fetch, self.memory, used_words, stolen)
            used_words, stolen = 0, False
        self.cycles += cycles

    def wait_for_words(self, needed: int) -> None:
        while self.fetch.ready < needed:
            self.spend(1)


class CortexM4:
    """Cycle model of the Cortex-M4 with FPv4-SP; see `TimingModel` for what the members mean."""

    name = "cortex-m4"
    version = "1"
    place_mask = 0
    uncertainty = (
        "Zero-wait-state memory. Hand-written assembly with its data in SRAM: within 1 % of "
        "published counts, single routines within 2 %. Tables or weights read from flash: up to "
        "5 % low, since loads that meet a fetch at the flash are not modelled. Compiled code: not "
        "compared with hardware; expect 0 to 10 % low. Divisions: within 3 cycles each. Floating "
        "point: the manual's table, 10 %. Loads skipped by an IT count as executed. Code in SRAM "
        "and unaligned data are counted as if they cost nothing extra. README.md in the package "
        "mcuq_lab/nucleosim/timing names the programs compared."
    )

    def __init__(
        self, memory: MemoryTiming = ZERO_WAIT_STATES, state_limit: int = STATE_LIMIT
    ) -> None:
        self.memory = memory
        self._state_limit = state_limit
        self._states: list[State] = []
        self._numbers: dict[State, int] = {}
        self._costs: dict[tuple[int, bytes, int], BlockCost] = {}
        self.initial_state = self._number(State(refilled(memory, 2)))

    def bases(self, code: bytes) -> tuple[int, ...]:
        """See `TimingModel.bases`."""
        return ()

    def block_cost(
        self, address: int, code: bytes, entry_state: int, places: tuple[Place, ...] = ()
    ) -> BlockCost:
        """See `TimingModel.block_cost`. Raises IndexError for a state it never gave out."""
        # Only the place within a word matters, so that copies of a block share one entry.
        key = (address & 2, code, entry_state)
        cost = self._costs.get(key)
        if cost is None:
            cost = self._costs[key] = self._walk(address & 2, code, self._states[entry_state])
        if not cost.dynamic:
            return cost
        return BlockCost(
            cost.cycles_fallthrough,
            cost.exit_fallthrough,
            cost.cycles_taken,
            cost.exit_taken,
            tuple(
                DynamicCost(
                    address - (address & 2) + at.address,
                    at.signed,
                    at.dividend_register,
                    at.divisor_register,
                )
                for at in cost.dynamic
            ),
        )

    def _number(self, state: State) -> int:
        """A small int for a state. A full table forgets the state: one stall at most is lost."""
        number = self._numbers.get(state)
        if number is None:
            if len(self._states) >= self._state_limit:
                return self.initial_state
            number = self._numbers[state] = len(self._states)
            self._states.append(state)
        return number

    def _walk(self, address: int, code: bytes, state: State) -> BlockCost:
        cycles = 0
        dynamic: list[DynamicCost] = []
        last: Instruction | None = None
        before = state
        upper = False
        for offset, _, last in instructions(code):
            if last.divide is not None:
                dynamic.append(DynamicCost(address + offset, *last.divide))
            before, cycles_before = state, cycles
            upper = bool(address + offset & 2)
            spent, state = self._issue(before, last, upper, taken=False)
            cycles += spent
        fallthrough = (cycles, self._number(state))
        if last is None or not last.writes_pc:
            return BlockCost(*fallthrough, cycles, self.initial_state, tuple(dynamic))
        spent, state = self._issue(before, last, upper, taken=True)
        taken = (cycles_before + spent, self._number(state))
        always = before.it_left == 0 and last.always_taken
        return BlockCost(*(taken if always else fallthrough), *taken, tuple(dynamic))

    def _issue(
        self, state: State, instruction: Instruction, upper: bool, taken: bool
    ) -> tuple[int, State]:
        """Cycles that one instruction adds, and the pipeline after it."""
        walk = _Walk(state, self.memory)
        needed = words_needed(instruction.wide, upper)
        used = words_used(instruction.wide, upper)
        if instruction.kind is Kind.IT and state.after_narrow and state.fetch.ready >= needed:
            return 0, _folded(state, instruction, used)
        hidden = _wait_for_neighbours(walk, instruction)
        walk.wait_for_words(needed)
        if taken:
            return self._take(walk, instruction, used)
        walk.spend(0 if hidden else 1, used, stolen=instruction.kind is Kind.BRANCH)
        if hidden:
            walk.fetch = walk.fetch._replace(ready=walk.fetch.ready - used)
        walk.spend(_further_cycles(instruction))
        if instruction.kind is Kind.BARRIER_FETCH:
            walk.spend(REFILL_LATE_CYCLES)
            walk.fetch = refilled(self.memory, 2)
        return walk.cycles, _after(walk, instruction)

    def _take(self, walk: _Walk, instruction: Instruction, used: int) -> tuple[int, State]:
        """The same for a branch that is taken: the FIFO starts again at the target."""
        walk.spend(1 + _further_cycles(instruction), used)
        early = instruction.kind is Kind.BRANCH
        walk.spend(REFILL_EARLY_CYCLES if early else REFILL_LATE_CYCLES)
        # A late refill has time for a second word: alignment no longer shows, P stays within 3.
        return walk.cycles, State(refilled(self.memory, 1 if early else 2))


def _folded(state: State, instruction: Instruction, used: int) -> State:
    """IT goes with the 16-bit instruction before it, in no time (TRM, note on IT)."""
    fetch = state.fetch._replace(ready=state.fetch.ready - used)
    return state._replace(fetch=fetch, after_narrow=False, it_left=instruction.it_length)


_PIPELINED_ACCESSES = frozenset((Kind.LOAD, Kind.STORE, Kind.STORE_INDEXED_BY_REGISTER))
_MULTIPLES = frozenset((Kind.LOAD_MULTIPLE, Kind.STORE_MULTIPLE))
_READS_MEMORY = frozenset((Kind.LOAD, Kind.LOAD_MULTIPLE, Kind.FP_LOAD))
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


def _wait_for_neighbours(walk: _Walk, instruction: Instruction) -> bool:
    """Stalls that the instruction before causes. True if this one hides in its tail."""
    state, kind = walk.state, instruction.kind
    stall = 0
    match state.tail:
        case Tail.LOAD:
            if kind is Kind.NOP:  # JNK0LE: a load eats a NOP that follows, no other instruction
                walk.spend(1)
                return True
            if kind not in _PIPELINED_ACCESSES:
                stall = 1
            elif kind is Kind.STORE:
                stall = walk.memory.store_after_load_stall_cycles
        case Tail.STORE:
            if kind in _READS_MEMORY:  # JNK0LE: a load after a store adds a cycle
                stall = 1
        case Tail.STORE_INDEXED_BY_REGISTER:
            stall = 1
            if kind is Kind.NOP:
                walk.spend(1)
                return True
    # PAIRS, JNK0LE: address generation is a cycle early, reads the register bank, no forwarding
    # A multiple reads its base in its own first cycle (X25519: `add r8, sp, #n; stm r8, {r0-r7}`).
    if kind not in _MULTIPLES:
        if instruction.address_registers & state.late:
            stall = max(stall, 1)
        if instruction.address_registers & state.later:
            stall = max(stall, 2)
    walk.spend(stall)
    if kind in _USES_FPU or instruction.fp_sources:
        walk.spend(max(0, state.fpu_busy_cycles - walk.cycles))
        if instruction.fp_sources & state.fp_late:
            walk.spend(1)
    return False


def _further_cycles(instruction: Instruction) -> int:
    """Cycles beyond the first, neighbours apart."""
    match instruction.kind:
        case Kind.LOAD_MULTIPLE | Kind.STORE_MULTIPLE:
            return instruction.register_count
        case Kind.LOAD:
            return 1 if instruction.writes_pc else 0
        case Kind.FP_LOAD | Kind.FP_STORE:
            return 1
        case Kind.FP_MOVE:
            return max(0, instruction.register_count - 1)
        case Kind.FP_MULTIPLY_ACCUMULATE:
            return FP_ACCUMULATE_CYCLES - 1
        case Kind.DIVIDE:
            return DIVIDE_LEAST_CYCLES - 1
        case Kind.BRANCH_TABLE:
            return 2  # PAIRS: two for the load, one to add
        case _:
            return 0


_TAILS = {
    Kind.LOAD: Tail.LOAD,
    Kind.STORE: Tail.STORE,
    Kind.STORE_INDEXED_BY_REGISTER: Tail.STORE_INDEXED_BY_REGISTER,
}


def _after(walk: _Walk, instruction: Instruction) -> State:
    state, kind = walk.state, instruction.kind
    busy = max(0, state.fpu_busy_cycles - walk.cycles)
    # A quotient under way stays late until the FPU is free again.
    fp_late = instruction.fp_results | (state.fp_late if busy else frozenset())
    if kind is Kind.FP_DIVIDE:
        busy = FP_DIVIDE_CYCLES - 1  # TRM: integer instructions go on meanwhile
    it_left = instruction.it_length if kind is Kind.IT else max(0, state.it_left - 1)
    single = kind is Kind.LOAD
    return State(
        fetch=walk.fetch,
        tail=_TAILS.get(kind, Tail.NONE),
        late=instruction.results | (frozenset() if single else instruction.loaded),
        later=instruction.loaded if single else frozenset(),
        fpu_busy_cycles=busy,
        fp_late=fp_late,
        after_narrow=not instruction.wide,
        it_left=it_left,
    )
