"""The Cortex-M7 with FPv5: the cycle model that a simulator asks.

The rules stand in the files beside it: `cortex_m7_latencies.py` (who waits how long for whom),
`cortex_m7_pairing.py` (which two issue together), `cortex_m7_fetch.py`, and `cortex_m7_issue.py`,
which applies them.
"""

from dataclasses import replace

from mcuq_lab.nucleosim.timing.accesses import Where, Whereabouts, bases, traced
from mcuq_lab.nucleosim.timing.cortex_m7_decode import decode_operation
from mcuq_lab.nucleosim.timing.cortex_m7_issue import Site, State, Walk
from mcuq_lab.nucleosim.timing.cortex_m7_operation import Operation
from mcuq_lab.nucleosim.timing.cost import MOST_COSTS, BlockCost, DynamicCost, Place
from mcuq_lab.nucleosim.timing.instruction import Access, Instruction
from mcuq_lab.nucleosim.timing.memory import ZERO_WAIT_STATES, MemoryTiming
from mcuq_lab.nucleosim.timing.states import STATE_LIMIT, States

MISPREDICT_CYCLES = 8
MISPREDICT_FLAGS_EARLY_CYCLES = 6
"""If the flags were set three cycles ahead of the branch (JNK0LE)."""
UNALIGNED_STORE_CYCLES = 4
"""That the store buffer needs to get rid of one (JNK0LE)."""
EXPECT_TAKEN = 2
EXPECT_NOT_TAKEN = 1
ALWAYS_TAKEN = 3
DIVIDE_SETUP_CYCLES = 1
DIVIDE_BITS_PER_CYCLE = 4
_PC = 15
_DOUBLE_WORD = 8


class CortexM7:
    """Cycle model of the Cortex-M7; see `TimingModel` for what the members mean."""

    name = "cortex-m7"
    version = "1"
    place_mask = 7
    uncertainty = (
        "Code and data in TCM, or hits in the caches; what misses cost comes on top and is "
        "not part of this model. 256 of 260 published sequences are met to the cycle, and 14 "
        "of 14 pairs of schedules are ranked as measured. Hand-written assembly: 4 programs, "
        "deviation 0.9 % in the mean and +3.6 % at most. Compiled code: 1 program, deviation "
        "0.4 % in the mean and +0.4 % at most; from so few, expect 5 % on scheduled assembly "
        "and 10 % on compiled code. Arm publishes no counts, so that rules that nobody has "
        "measured may be missing. Divisions, and double precision whose time depends on the "
        "operands: not compared. README.md in the package mcuq_lab/nucleosim/timing names the "
        "programs compared and what is not modelled."
    )

    def __init__(
        self, memory: MemoryTiming = ZERO_WAIT_STATES, state_limit: int = STATE_LIMIT
    ) -> None:
        self.memory = memory
        self._states = States(State(), state_limit)
        self._costs: dict[tuple, BlockCost] = {}
        self.initial_state = self._states.number(State())

    def bases(self, code: bytes) -> tuple[int, ...]:
        """See `TimingModel.bases`."""
        return bases(code, _place_matters)

    def block_cost(
        self, address: int, code: bytes, entry_state: int, places: tuple[Place, ...] = ()
    ) -> BlockCost:
        """See `TimingModel.block_cost`. Raises IndexError for a state it never gave out."""
        start = address % _DOUBLE_WORD
        key = (start, code, entry_state, places)
        cost = self._costs.get(key)
        if cost is None:
            if len(self._costs) >= MOST_COSTS:
                self._costs.clear()
            cost = self._costs[key] = self._walk(address, code, self._states[entry_state], places)
        return cost if not cost.dynamic else _moved(cost, address)

    def _walk(
        self, address: int, code: bytes, state: State, places: tuple[Place, ...]
    ) -> BlockCost:
        start = address % _DOUBLE_WORD
        walk = Walk(state)
        whereabouts = Whereabouts(places, self.place_mask, self.memory.at(address))
        dynamic: list[DynamicCost] = []
        branch: tuple[Walk, Operation, Site] | None = None
        backwards = False
        for offset, encoding, instruction, origin in traced(code, state.it_left):
            operation = decode_operation(encoding)
            access = operation.instruction.access
            where = None if access is None else whereabouts.from_origin(access, origin)
            site = self._site(start + offset, operation, where)
            if instruction.divide is not None:
                dynamic.append(
                    DynamicCost(
                        offset, *instruction.divide, DIVIDE_SETUP_CYCLES, DIVIDE_BITS_PER_CYCLE
                    )
                )
            branch = (walk.copy(), operation, site) if instruction.writes_pc else None
            backwards = instruction.conditional and _is_backwards(encoding)
            walk.issue(operation, site)
        fallthrough = (walk.cycles, self._states.number(walk.state()))
        causes = tuple(walk.causes)
        if branch is None:
            elsewhere = (walk.cycles, self.initial_state)
            return BlockCost(*fallthrough, *elsewhere, tuple(dynamic), causes, causes)
        taken, operation, site = branch
        always = taken.it_left == 0 and operation.instruction.always_taken
        taken.issue(operation, site, taken=True)
        early = taken.flags_are_old()
        jump = (taken.cycles, self._states.number(taken.state()))
        return BlockCost(
            *(jump if always else fallthrough),
            *jump,
            tuple(dynamic),
            tuple(taken.causes) if always else causes,
            tuple(taken.causes),
            0 if always else MISPREDICT_FLAGS_EARLY_CYCLES if early else MISPREDICT_CYCLES,
            ALWAYS_TAKEN if always else EXPECT_TAKEN if backwards else EXPECT_NOT_TAKEN,
        )

    def _site(self, address: int, operation: Operation, where: Where | None) -> Site:
        """Bank and alignment of an access; unknown bases count as aligned to double words."""
        access = operation.instruction.access
        if access is None or where is None:
            return Site(address % _DOUBLE_WORD)
        residue = _residue(address, access, where)
        within = where.modulo(access.size_bytes)
        unaligned = bool(within) and access.base != _PC
        drain_cycles = self.memory.part_store_cycles if access.size_bytes < 4 else 1
        return Site(
            address % _DOUBLE_WORD,
            None if residue is None else residue // 4,
            unaligned,
            UNALIGNED_STORE_CYCLES if unaligned else drain_cycles,
        )


def _place_matters(instruction: Instruction) -> bool:
    """The bank of a load, and whether an access is aligned; a byte that is stored needs neither."""
    access = instruction.access
    return access is not None and (access.size_bytes > 1 or bool(instruction.loaded))


def _residue(address: int, access: Access, where: Where) -> int | None:
    """Address of an access modulo 8; None if a register that nobody knows is added to it."""
    if access.base == _PC and access.offset is not None:
        return ((address + 4) // 4 * 4 + access.offset) % _DOUBLE_WORD
    residue = where.modulo(_DOUBLE_WORD)
    if residue is None and access.offset is not None:
        return access.offset % _DOUBLE_WORD
    return residue


def _is_backwards(encoding: bytes) -> bool:
    """Whether a conditional branch's offset is negative: bit 7 of the 16-bit encoding, bit 26 of
    the 32-bit one (ARMv7-M ARM, A7.7.12); CBZ and CBNZ only go forwards."""
    first = int.from_bytes(encoding[:2], "little")
    if len(encoding) == 4:
        return bool(first & 0x0400)
    return first & 0xF000 == 0xD000 and bool(first & 0x80)


def _moved(cost: BlockCost, address: int) -> BlockCost:
    """The cost with its divisions, which are kept relative to the block's start, at `address`."""
    dynamic = tuple(replace(at, address=address + at.address) for at in cost.dynamic)
    return replace(cost, dynamic=dynamic)
