"""The prefetch unit: a FIFO of words that runs ahead of decode.

The core fetches one aligned word a cycle into a three-word FIFO (ARM KA103488664). A 16-bit
instruction takes half a word, an aligned 32-bit one a word; a 32-bit instruction that straddles
two words needs both. With one word a cycle the FIFO keeps up with any code once it streams; what
it cannot hide is the start: after a taken branch, and after it had stopped because it was full.

From these few rules follow, with no rule of their own, the effects that have been measured:
a branch to a straddling instruction costs one more (ARM 100166, refill of 1 to 3 cycles); three
or more straddling instructions in a row, met with the FIFO full, cost one more
(compendium.i-0.nl, alignment rules); a conditional branch that is not taken costs one more
unless two 16-bit instructions had built up slack, because the fetch of its target took a slot
(jnk0le, CM3_pipetest_tmpl.S).
"""

from typing import NamedTuple

from mcuq_lab.nucleosim.timing.memory import MemoryTiming

STOPPED = 2
"""After so many idle cycles the unit has stopped and takes a cycle to start again. One idle cycle
is not enough: a two-cycle load among straddling instructions costs nothing more, a longer one does
(adds up to the counts that github.com/Emill/X25519-Cortex-M4 gives for its routines)."""


class Fetch(NamedTuple):
    """The FIFO at the start of a cycle."""

    ready: int
    """Words that decode may use now, the one it is in the middle of included."""
    pending: tuple[int, ...]
    """Words under way: pending[i] becomes ready in i + 1 cycles."""
    idle_cycles: int
    """Cycles in a row without a request because the FIFO was full, counted up to STOPPED."""


def full(memory: MemoryTiming) -> Fetch:
    """After a long pause: everything fetched, nothing under way."""
    return Fetch(memory.fetch_fifo_words, (0,) * (memory.fetch_latency_cycles - 1), STOPPED)


def refilled(memory: MemoryTiming, words: int) -> Fetch:
    """Streaming from a new address, with `words` arrived and one request a cycle behind them."""
    return Fetch(words, (1,) * (memory.fetch_latency_cycles - 1), 0)


def step(fetch: Fetch, memory: MemoryTiming, used_words: int = 0, stolen: bool = False) -> Fetch:
    """One cycle on: `used_words` leave, a request goes out if there is room.

    `stolen`: the slot goes to something else: the target of a branch that is then not taken, or a
    load from the memory that the code is fetched from (ST RM0090 3.5.2: data comes first).
    """
    ready, pending, idle_cycles = fetch
    room = ready - used_words + sum(pending) < memory.fetch_fifo_words
    request = room and idle_cycles < STOPPED and not stolen
    arrived = pending[0] if pending else int(request)
    return Fetch(
        ready - used_words + arrived,
        (*pending[1:], int(request)) if pending else (),
        0 if room or stolen else min(idle_cycles + 1, STOPPED),
    )


def words_needed(wide: bool, in_upper_half: bool) -> int:
    """Words that must be ready for an instruction to issue."""
    return 2 if wide and in_upper_half else 1


def words_used(wide: bool, in_upper_half: bool) -> int:
    """Words that an instruction uses up: the rest of the last one is left for the next."""
    return 1 if wide or in_upper_half else 0
