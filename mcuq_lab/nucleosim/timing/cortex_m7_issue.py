"""The Cortex-M7's issue stage: when each instruction of a run starts, and what it waited for.

Issue is in order, up to two instructions a cycle. An instruction joins the one before it if the
younger slot is open, its halfwords have arrived, its operands are ready and the units allow the
pair; else it opens the next cycle in which it can issue. What lies behind is the pipeline state,
an open slot included, so a run may be cut anywhere.

JNK0LE  github.com/jnk0le/random, pipeline cycle test/doc/cortex_m7.md, measured on STM32H743
LLVM    ARMLatencyMutations.cpp, CortexM7Overrides, written by Arm
"""

from typing import NamedTuple

from mcuq_lab.nucleosim.timing.cortex_m7_fetch import AFTER_RESET, Fetch, landed, redirected, step
from mcuq_lab.nucleosim.timing.cortex_m7_latencies import (
    LATENCY_CYCLES,
    LONGEST_CYCLES,
    Need,
    Producer,
)
from mcuq_lab.nucleosim.timing.cortex_m7_operation import (
    ACCUMULATE_MARK,
    FLAGS,
    Early,
    Operation,
    Shifter,
    Unit,
)
from mcuq_lab.nucleosim.timing.cortex_m7_pairing import (
    LOADS,
    MOVES_OF_FPU,
    Slot,
    may_join,
    open_slot,
)
from mcuq_lab.nucleosim.timing.cost import CAUSES, Cause
from mcuq_lab.nucleosim.timing.instruction import Kind

UNALIGNED_LOAD_CYCLES = 3
"""More for a load that is not aligned to its size, whichever it is (JNK0LE); 4 as the younger."""
STORE_BACKLOG_CYCLES = 12
"""Work that the store buffer may have left when it takes another: five unaligned stores in a row
find room, the sixth waits (JNK0LE)."""
BARRIER_CYCLES = 8
"""ISB: as long as a branch predicted wrongly; no source."""

_LONG_AGO = -99
_LOADED = frozenset((Producer.WORD, Producer.PART, Producer.FP_WORD))
_STORES = frozenset((Unit.STORE, Unit.FP_STORE))
_FOR_ADDRESS = frozenset((Need.ADDRESS, Need.INDEX))


class State(NamedTuple):
    """The pipeline between two instructions."""

    fetch: Fetch = AFTER_RESET
    slot: Slot | None = None
    """Open younger slot of the cycle that has just been counted."""
    pending: tuple[tuple[int, Producer, int], ...] = ()
    """Results that may still be waited for: register, producer, cycles since it issued."""
    it_left: int = 0
    backlog_cycles: int = 0
    """Until the store buffer is empty."""


class Site(NamedTuple):
    """What is known of an instruction besides its encoding."""

    address: int
    """Of the instruction, modulo 8."""
    bank: int | None = None
    """Word of the double word that an access starts with, 0 or 1; None: not known."""
    unaligned: bool = False
    """To the size of what is accessed."""
    drain_cycles: int = 1
    """That the store buffer needs to get rid of a store."""


class Walk:
    """Issues the instructions of one run, one call each."""

    def __init__(self, state: State) -> None:
        self.cycles = 0
        self.causes = [0] * CAUSES
        self.it_left = state.it_left
        self._fetch = state.fetch
        self._slot = state.slot
        self._backlog = state.backlog_cycles
        # The cycle that is open has number 0; results have the number of the cycle they issued in.
        self._now = 0
        self._results = {r: (producer, -age) for r, producer, age in state.pending}

    def copy(self) -> "Walk":
        """The same point of the run, to go on another way."""
        other = Walk(self.state())
        other.cycles, other.causes = self.cycles, list(self.causes)
        return other

    def state(self) -> State:
        """What the run leaves behind."""
        pending = [
            (register, producer, self._now - issued)
            for register, (producer, issued) in self._results.items()
            if self._now - issued < LONGEST_CYCLES[producer]
        ]
        return State(self._fetch, self._slot, tuple(sorted(pending)), self.it_left, self._backlog)

    def flags_are_old(self) -> bool:
        """Whether a branch that has just issued knows its flags early."""
        return self._wait(FLAGS, Need.RESOLUTION) <= self._now

    def issue(self, operation: Operation, site: Site, taken: bool = False) -> None:
        """Issue one instruction; `taken`: it branches."""
        behind_branch = self._fetch.at_target
        self._fetch = landed(self._fetch, site.address)
        halfwords = 2 if operation.instruction.wide else 1
        younger = self._joins(operation, site, halfwords)
        older = self._slot
        if younger:
            self._slot = None
        else:
            self._open_cycle(operation, halfwords, behind_branch)
            self._slot = open_slot(operation, site.bank)
        self._fetch = self._fetch._replace(halfwords=self._fetch.halfwords - halfwords)
        self._write(operation, older if younger else None, younger)
        self._occupy(operation, site, younger)
        self.it_left = operation.instruction.it_length or max(0, self.it_left - 1)
        if taken:
            self._fetch = redirected(self._fetch, site.address + 2 * halfwords)

    def _joins(self, operation: Operation, site: Site, halfwords: int) -> bool:
        if self._slot is None or not may_join(self._slot, operation, site.bank):
            return False
        if self._fetch.halfwords < halfwords or self._ready(operation)[0] > self._now:
            return False
        busy = self._wait(ACCUMULATE_MARK, Need.AFTER_ACCUMULATE) > self._now
        return not (busy and operation.unit in MOVES_OF_FPU)

    def _open_cycle(self, operation: Operation, halfwords: int, behind_branch: bool) -> None:
        """Let cycles pass until the instruction issues as the older of a new one."""
        ready, cause = self._ready(operation)
        self._pass(Cause.ISSUE)
        while self._fetch.halfwords < halfwords:
            self._pass(Cause.BRANCH if behind_branch else Cause.FETCH)
        while self._now < ready:
            self._pass(cause)

    def _pass(self, cause: Cause) -> None:
        self._now += 1
        self._fetch = step(self._fetch)
        self._backlog = max(0, self._backlog - 1)
        self.cycles += 1
        self.causes[cause] += 1

    def _wait(self, register: int, need: Need) -> int:
        """The first cycle in which `register` can be read for `need`."""
        if register not in self._results:
            return _LONG_AGO
        producer, issued = self._results[register]
        return issued + LATENCY_CYCLES[producer].get(need, 0)

    def _ready(self, operation: Operation) -> tuple[int, Cause]:
        """The first cycle in which all operands are there, and what the last one is waited for."""
        last, cause = _LONG_AGO, Cause.EXECUTE
        if operation.unit in _STORES and self._backlog > STORE_BACKLOG_CYCLES:
            last, cause = self._now + self._backlog - STORE_BACKLOG_CYCLES, Cause.MEMORY
        for register, need in self._reads(operation):
            ready = self._wait(register, need)
            if ready > last:
                last = ready
                loaded = register in self._results and self._results[register][0] in _LOADED
                loads = need in _FOR_ADDRESS
                cause = Cause.LOAD_USE if loaded or loads else Cause.EXECUTE
        return last, cause

    def _reads(self, operation: Operation) -> tuple[tuple[int, Need], ...]:
        if self.it_left and operation.instruction.kind is not Kind.IT:
            return (*operation.reads, (FLAGS, Need.LATE))
        return operation.reads

    def _executes_early(self, operation: Operation, older: Slot | None, younger: bool) -> bool:
        match operation.early:
            case Early.NO:
                return False
            case Early.FROM_OLDER_SLOT if younger:
                return False
            case Early.FROM_EITHER_SLOT if older is not None:
                if older.shifter in (Shifter.OPERAND, Shifter.BITS):
                    return False
        return all(self._wait(r, Need.EARLY) <= self._now for r, _ in self._reads(operation))

    def _write(self, operation: Operation, older: Slot | None, younger: bool) -> None:
        early = self._executes_early(operation, older, younger)
        narrow_in_it = self.it_left and not operation.instruction.wide
        # LLVM: what an IT makes conditional comes a cycle later to those outside. Within it,
        # neighbours are of one condition more often than not.
        last_of_it = self.it_left == 1 and operation.instruction.kind is not Kind.IT
        loaded = 0
        for register, producer in operation.writes:
            issued = self._now + last_of_it
            if producer is Producer.FLAGS and narrow_in_it:
                continue  # 16-bit instructions set no flags under an IT
            if producer is Producer.LATE_ALU and early:
                producer = Producer.EARLY_ALU
            elif producer in _LOADED:
                # JNK0LE: two registers a cycle.
                issued += loaded // 2
                loaded += 1
            self._results[register] = (producer, issued)

    def _occupy(self, operation: Operation, site: Site, younger: bool) -> None:
        """Cycles beyond the first."""
        kind = operation.instruction.kind
        access = operation.instruction.access
        for _ in range(operation.cycles - 1):
            self._pass(Cause.EXECUTE if access is None else Cause.MEMORY)
        if kind is Kind.BARRIER_FETCH:
            for _ in range(BARRIER_CYCLES):
                self._pass(Cause.BRANCH)
            self._fetch = AFTER_RESET
        if operation.unit in _STORES:
            self._backlog += site.drain_cycles
        elif site.unaligned and operation.unit in LOADS:
            for _ in range(UNALIGNED_LOAD_CYCLES + younger):
                self._pass(Cause.MEMORY)
            for register, producer in operation.writes:
                if producer in _LOADED:
                    self._results[register] = (producer, self._now)
        elif kind is Kind.STORE_MULTIPLE and site.bank == 1 and access.count % 2 == 0:
            # JNK0LE: an even number of words from the middle of a double word takes one more.
            self._pass(Cause.MEMORY)
