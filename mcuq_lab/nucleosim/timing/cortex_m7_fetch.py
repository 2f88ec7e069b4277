"""The Cortex-M7's prefetch queue: aligned double words that run ahead of issue.

The prefetch unit fetches 64 bits a cycle into a queue of four double words and follows the
branches that it predicts without a gap (ST, training slides on the STM32F7's core). What shows is
what the queue cannot hide: code whose instructions are all 32 bits wide uses a double word a
cycle, so nothing is ever in store, and the half that a branch or its target leaves unused is
missing.
"""

from typing import NamedTuple

DOUBLE_WORD_HALFWORDS = 4
QUEUE_HALFWORDS = 4 * DOUBLE_WORD_HALFWORDS


class Fetch(NamedTuple):
    """The queue as an instruction finds it."""

    halfwords: int
    """That may be decoded now; below zero: the start of the next double word is not for us."""
    at_target: bool = False
    """Nothing has been taken since a branch: the first instruction's place decides what is lost."""


AFTER_RESET = Fetch(DOUBLE_WORD_HALFWORDS, at_target=True)


def step(fetch: Fetch) -> Fetch:
    """One cycle on: a double word arrives if there is room for it."""
    if fetch.halfwords + DOUBLE_WORD_HALFWORDS > QUEUE_HALFWORDS:
        return fetch
    return fetch._replace(halfwords=fetch.halfwords + DOUBLE_WORD_HALFWORDS)


def landed(fetch: Fetch, address: int) -> Fetch:
    """The queue for the first instruction behind a branch, which lies at `address`."""
    if not fetch.at_target:
        return fetch
    return Fetch(fetch.halfwords - (address & 7) // 2)


def redirected(fetch: Fetch, end: int) -> Fetch:
    """The queue behind a branch that is taken and ends at `end`: the rest of its double word goes,
    and what lies behind it is the target's already."""
    wasted = (-end & 7) // 2
    whole = max(0, fetch.halfwords - wasted) // DOUBLE_WORD_HALFWORDS
    return Fetch(whole * DOUBLE_WORD_HALFWORDS, at_target=True)
