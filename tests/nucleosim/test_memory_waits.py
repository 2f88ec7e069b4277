"""Caches and wait states: what code and data cost when flash is slower than the core."""

from __future__ import annotations

from collections import OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcuq_lab.nucleosim.chip import load_chip
from mcuq_lab.nucleosim.engine.waits import CacheWords, hold
from mcuq_lab.nucleosim.memory_waits import WaitSettings, waits_of
from mcuq_lab.nucleosim.timing.waits import NO_WAITS, Cache

ACR = 0x40023C00
PREFETCH, CODE_CACHE, DATA_CACHE = 1 << 8, 1 << 9, 1 << 10
ALL_ON = PREFETCH | CODE_CACHE | DATA_CACHE
WAIT_STATES = 3
LINE_BYTES = 16


@settings(max_examples=100, deadline=None)
@given(
    lines=st.lists(st.integers(0, 40), max_size=200),
    geometry=st.sampled_from([(8, 8), (8, 2), (16, 4), (64, 64), (2, 1)]),
)
def test_cache_replaces_the_line_used_longest_ago(lines, geometry) -> None:
    count, ways = geometry
    cache = CacheWords(Cache(count, LINE_BYTES, ways), [(0, 64 * LINE_BYTES)])
    sets = [OrderedDict() for _ in range(count // ways)]
    for line in lines:
        held = sets[line % len(sets)]
        assert hold(cache.words, line, cache.first_slot(0) + line) is (line in held)
        held[line] = True
        held.move_to_end(line)
        if len(held) > ways:
            held.popitem(last=False)


# Loops are aligned to lines, and fit one.
PROGRAM = """
#define ACR REG(0x40023C00)
volatile uint32_t cycles[2], settings, sum;
const uint32_t table[256] __attribute__((aligned(1024), section(".rodata.table"))) = {[255] = 7};
USED uint32_t read_words(const uint32_t *from, uint32_t count) {
  uint32_t total = 0;
  __asm volatile(
      ".balign 16\\n"
      "1: ldr r3, [%0], #4\\n"
      "add %1, r3\\n"
      "subs %2, #1\\n"
      "bne 1b\\n" : "+r"(from), "+r"(total), "+r"(count) :: "r3", "cc", "memory");
  return total;
}
USED void wide_code(void) {
  __asm volatile(".balign 16\\n.rept 1024\\nadd.w r3, r3, #1\\n.endr" ::: "r3");
}
USED void narrow_code(void) {
  __asm volatile(".balign 16\\n.rept 2048\\nmov r3, r3\\n.endr" ::: "r3");
}
static uint32_t since(uint32_t start) { return DWT_CYCCNT - start; }
int main(void) {
  DEMCR = 1 << 24; DWT_CTRL = 1;
  ACR = settings;
  read_words(table, 1);
  uint32_t start = DWT_CYCCNT;
  sum = read_words(table, 256);
  cycles[0] = since(start);
  start = DWT_CYCCNT;
  CODE();
  cycles[1] = since(start);
  return 0;
}
"""


@pytest.fixture
def extra_cycles(bench, build_image):
    """Cycles that wait states add to reading a table of 1 KB, and to running 4 KB of code."""

    def cycles(settings: int) -> list[int]:
        bench.target.reset_and_halt()
        bench.target.write32(bench.symbol("settings"), settings)
        bench.run()
        assert bench.read("sum") == [7]
        return bench.read("cycles", 2)

    def run(settings: int, code: str = "wide_code") -> tuple[int, int]:
        bench.flash(build_image(PROGRAM.replace("CODE", code)))
        fast, slow = cycles(0), cycles(settings)
        return slow[0] - fast[0], slow[1] - fast[1]

    return run


def near(value: int, expected: int) -> bool:
    """But for the few lines of the calls around what is timed, and those in a cache before."""
    return abs(value - expected) <= 12 * WAIT_STATES


def test_data_waits_once_for_each_line(extra_cycles) -> None:
    data, _ = extra_cycles(WAIT_STATES | ALL_ON)
    assert near(data, 256 * 4 // LINE_BYTES * WAIT_STATES)


def test_data_waits_for_each_word_without_the_cache(extra_cycles) -> None:
    data, _ = extra_cycles(WAIT_STATES | PREFETCH | CODE_CACHE)
    assert near(data, 256 * WAIT_STATES)


def test_prefetch_hides_what_the_line_before_takes(extra_cycles) -> None:
    """RM0402 3.4.2: a line of 128 bits holds four to eight instructions: four cycles to eight."""
    _, wide = extra_cycles(WAIT_STATES | ALL_ON, "wide_code")
    _, narrow = extra_cycles(WAIT_STATES | ALL_ON, "narrow_code")
    assert near(wide, 0)
    assert near(narrow, 0)
    _, wide = extra_cycles((WAIT_STATES + 2) | ALL_ON, "wide_code")
    assert near(wide, 4096 // LINE_BYTES * 2)


def test_every_line_of_new_code_waits_without_prefetch(extra_cycles) -> None:
    _, code = extra_cycles(WAIT_STATES | CODE_CACHE | DATA_CACHE)
    assert near(code, 4096 // LINE_BYTES * WAIT_STATES)


def test_zero_wait_states_cost_nothing(extra_cycles) -> None:
    assert extra_cycles(ALL_ON) == (0, 0)


LOOP = """
volatile uint32_t cycles, before;
int main(void) {
  DEMCR = 1 << 24; DWT_CTRL = 1;
  uint32_t start = DWT_CYCCNT, count = 1000;
  __asm volatile(".balign 16\\n1: subs %0, #1\\nbne 1b\\n" : "+r"(count) :: "cc");
  cycles = DWT_CYCCNT - start;
  return 0;
}
"""


def test_a_loop_in_the_cache_runs_as_if_flash_were_fast(bench, build_image) -> None:
    bench.flash(build_image(LOOP))
    bench.run()
    (fast,) = bench.read("cycles")
    bench.target.reset_and_halt()
    bench.target.write32(ACR, WAIT_STATES | CODE_CACHE)
    bench.run()
    assert fast <= bench.read("cycles")[0] <= fast + 4 * WAIT_STATES
    bench.target.reset_and_halt()
    bench.target.write32(ACR, WAIT_STATES)  # no cache: the line buffer still holds the loop's line
    bench.run()
    assert fast <= bench.read("cycles")[0] <= fast + 4 * WAIT_STATES


def test_stores_to_waiting_flash_follow_its_rules(bench, build_image) -> None:
    bench.flash(
        build_image("""
        #define FLASH(offset) REG(0x40023C00 + offset)
        volatile uint32_t refused, first, second;
        int main(void) {
          volatile uint32_t *cell = (volatile uint32_t *)0x080E0000;
          *cell = 0x1234;
          refused = *cell;
          FLASH(0x0C) = 0xF0;
          FLASH(0x04) = 0x45670123; FLASH(0x04) = 0xCDEF89AB;
          FLASH(0x10) = 0x201;
          *cell = 0xF0F01234;
          first = *cell;
          *cell = 0x0000FFFF;
          second = *cell;
          return 0;
        }""")
    )
    bench.target.write32(ACR, WAIT_STATES | ALL_ON)
    bench.run()
    assert bench.read("refused") == [0xFFFFFFFF]
    assert bench.read("first") == [0xF0F01234]
    assert bench.read("second") == [0x00001234]


def test_data_becomes_code(bench, build_image) -> None:
    """A page is read as data first, then run; and new contents are seen by both."""
    source = """
        typedef uint32_t (*function)(uint32_t);
        __attribute__((aligned(2048), noinline, used))
        static uint32_t next(uint32_t x) {{ return x + {step}; }}
        volatile uint32_t read, result;
        int main(void) {{
          read = *(const volatile uint32_t *)((uint32_t)next & ~3u);
          result = ((function)((uint32_t)next))(41);
          return 0;
        }}"""
    for step in (1, 2):
        bench.flash(build_image(source.format(step=step)))
        bench.target.write32(ACR, WAIT_STATES | ALL_ON)
        bench.run()
        assert bench.read("result") == [41 + step]
        assert bench.read("read") == [bench.target.read32(bench.symbol("next"))]


def test_rules_of_a_chip() -> None:
    chip = load_chip("nucleo-f412zg")
    flash = (chip.flash.start, chip.flash.start + chip.flash.size_bytes)
    waits = waits_of(chip.waits, WaitSettings(WAIT_STATES, True, True, False), flash)
    assert waits.code.miss_cycles == waits.data[0].read_miss_cycles == WAIT_STATES
    assert waits.code.prefetch_cycles == WAIT_STATES + 1
    assert waits.code.cache == chip.waits.instruction_cache
    assert waits.data_cache is None
    assert waits_of(chip.waits, WaitSettings(0, True, True, True), flash) == NO_WAITS
