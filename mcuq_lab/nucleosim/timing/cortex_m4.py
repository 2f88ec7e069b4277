"""The cycle model of the Cortex-M4: blocks walked through its pipeline, memoised."""

from __future__ import annotations

from dataclasses import replace

from mcuq_lab.nucleosim.timing.accesses import SP, Where, Whereabouts, bases, traced
from mcuq_lab.nucleosim.timing.cortex_m4_pipeline import STORES, State
from mcuq_lab.nucleosim.timing.cortex_m4_steps import Step, Steps
from mcuq_lab.nucleosim.timing.cost import CAUSES, MOST_COSTS, BlockCost, DynamicCost, Place
from mcuq_lab.nucleosim.timing.fetch import refilled
from mcuq_lab.nucleosim.timing.instruction import Instruction, Kind
from mcuq_lab.nucleosim.timing.memory import ZERO_WAIT_STATES, Memory, MemoryTiming
from mcuq_lab.nucleosim.timing.states import STATE_LIMIT, States

DIVIDE_SETUP_CYCLES = 1
DIVIDE_BITS_PER_CYCLE = 4
"""Of the quotient. With DIVIDE_LEAST_CYCLES they make 3 where the divisor has more bits, else 5 and
one more for each four bits by which the dividend is longer, at most 12: compendium.i-0.nl
(division timing, measured on an STM32L4) and the range of ARM 100166. A zero, which ends a division
in 2, counts as 3."""


class CortexM4:
    """Cycle model of the Cortex-M4 with FPv4-SP; see `TimingModel` for what the members mean."""

    name = "cortex-m4"
    version = "2"
    place_mask = 3
    uncertainty = (
        "Memory that answers at once; wait states and caches come on top and are not part of this "
        "model. 147 of 148 published sequences are met to the cycle. Hand-written assembly: "
        "10 programs, deviation 1.3 % in the mean and -6.1 % at most. Code that reads tables or "
        "weights from flash depends on where it lies in a line of flash, by up to 9 % in these "
        "programs. Compiled code: 2 programs, deviation 2.4 % in the mean and +4.3 % at most, by "
        "another compiler than the one measured; from so few, expect 10 %. "
        "Divisions: within 2 cycles each. Floating point: the manual's table. Loads skipped by an "
        "IT count as executed, and code in SRAM as if it came as fast as from flash. README.md in "
        "the package mcuq_lab/nucleosim/timing names the programs compared and what is not "
        "modelled."
    )

    def __init__(
        self, memory: MemoryTiming = ZERO_WAIT_STATES, state_limit: int = STATE_LIMIT
    ) -> None:
        self.memory = memory
        self._states = States(State(refilled(memory, 2)), state_limit)
        self._steps = Steps(memory)
        self._costs: dict[tuple, BlockCost] = {}
        self._left_out = frozenset({SP}) if memory.has_one_ram else frozenset()
        self.initial_state = self._states.number(State(refilled(memory, 2)))

    def bases(self, code: bytes) -> tuple[int, ...]:
        """See `TimingModel.bases`. The stack is looked at where there is more than one RAM."""
        return bases(code, _place_matters, self._left_out)

    def block_cost(
        self, address: int, code: bytes, entry_state: int, places: tuple[Place, ...] = ()
    ) -> BlockCost:
        """See `TimingModel.block_cost`. Raises IndexError for a state it never gave out."""
        # Only the place within a line and the memory matter: copies of a block share an entry.
        code_memory = self.memory.at(address)
        line = 4 * self.memory.line_words(code_memory)
        key = (address % line, code_memory, code, entry_state, places)
        cost = self._costs.get(key)
        if cost is None:
            if len(self._costs) >= MOST_COSTS:
                self._costs.clear()
            self._steps.make_room()
            whereabouts = Whereabouts(places, self.place_mask, code_memory)
            cost = self._costs[key] = self._walk(
                address % line, code, self._states[entry_state], whereabouts, code_memory
            )
        if not cost.dynamic:
            return cost
        base = address - address % line
        return replace(
            cost, dynamic=tuple(replace(at, address=base + at.address) for at in cost.dynamic)
        )

    def _walk(
        self,
        address: int,
        code: bytes,
        state: State,
        whereabouts: Whereabouts,
        code_memory: Memory,
    ) -> BlockCost:
        line = 4 * self.memory.line_words(code_memory)
        steps = self._steps
        causes = [0] * CAUSES
        stage = before = steps.stage(state)
        last: tuple[bytes, int, Where | None] | None = None
        instruction: Instruction | None = None
        step: Step | None = None
        dynamic: list[DynamicCost] = []
        for offset, encoding, instruction, origin in traced(code, state.it_left):
            at = address + offset
            if instruction.divide is not None:
                dynamic.append(
                    DynamicCost(at, *instruction.divide, DIVIDE_SETUP_CYCLES, DIVIDE_BITS_PER_CYCLE)
                )
            access = instruction.access
            where = None if access is None else whereabouts.from_origin(access, origin)
            last = (encoding, at % line, where)
            before = stage
            step = steps.go(before, *last, code_memory, taken=False)
            for cause, cycles in step.causes:
                causes[cause] += cycles
            stage = step.after
        spent = tuple(causes)
        exit_fallthrough = self._states.number(stage.state)
        if last is None or not instruction.writes_pc:
            taken, exit_taken = spent, self.initial_state
        else:
            for cause, cycles in step.causes:
                causes[cause] -= cycles
            step = steps.go(before, *last, code_memory, taken=True)
            for cause, cycles in step.causes:
                causes[cause] += cycles
            exit_taken = self._states.number(step.after.state)
            taken = tuple(causes)
            if before.state.it_left == 0 and instruction.always_taken:
                spent, exit_fallthrough = taken, exit_taken
        return BlockCost(
            cycles_fallthrough=sum(spent),
            exit_fallthrough=exit_fallthrough,
            cycles_taken=sum(taken),
            exit_taken=exit_taken,
            dynamic=tuple(dynamic),
            causes_fallthrough=spent,
            causes_taken=taken,
        )


_DECIDING_LOADS = frozenset((Kind.LOAD, Kind.LOAD_MULTIPLE, Kind.FP_LOAD))


def _place_matters(instruction: Instruction) -> bool:
    """Whether what an access costs depends on where it goes.

    Of a load, the memory decides; of a store, only whether it is aligned, as bytes always are.
    """
    if instruction.kind in STORES:
        return instruction.access.size_bytes > 1
    return instruction.kind in _DECIDING_LOADS
