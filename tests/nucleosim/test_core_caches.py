"""Caches of the Cortex-M7: code and data behind the AXI bus."""

from __future__ import annotations

import pytest

from mcuq_lab.nucleosim.chip import load_chip

BOARD = "nucleo-h743zi"
LINE_BYTES = 32
CACHE_BYTES = 16 * 1024
AXI, DTCM = 0x2400_0000, 0x2000_8000

PROGRAM = """
#define CCR REG(0xE000ED14)
#define ICIALLU REG(0xE000EF50)
#define DWT_LAR REG(0xE0001FB0)
volatile uint32_t cycles[3], code_cycles[2];
USED void read_words(const uint32_t *from, uint32_t count) {
  __asm volatile(
      ".balign 32\\n"
      "1: ldr r3, [%0], #4\\n"
      "subs %1, #1\\n"
      "bne 1b\\n" : "+r"(from), "+r"(count) :: "r3", "cc", "memory");
}
USED void spin(void) {
  uint32_t count = 200;
  __asm volatile(
      ".balign 32\\n"
      "1: .rept 30\\nadd.w r3, r3, #1\\n.endr\\n"
      "subs %0, #1\\n"
      "bne 1b\\n" : "+r"(count) :: "r3", "cc");
}
USED uint32_t timed(const uint32_t *from, uint32_t count) {
  uint32_t start = DWT_CYCCNT;
  read_words(from, count);
  return DWT_CYCCNT - start;
}
int main(void) {
  DEMCR = 1 << 24; DWT_LAR = 0xC5ACCE55; DWT_CTRL = 1;
  uint32_t start = DWT_CYCCNT;
  spin();
  code_cycles[0] = DWT_CYCCNT - start;
  ICIALLU = 0;
  CCR |= 3 << 16;
  __asm volatile("dsb\\nisb");
  spin();
  start = DWT_CYCCNT;
  spin();
  code_cycles[1] = DWT_CYCCNT - start;
  const uint32_t *from = (const uint32_t *)PLACE;
  for (uint32_t turn = 0; turn < 3; turn++) cycles[turn] = timed(from, BYTES / 4);
  return 0;
}
"""


@pytest.fixture
def run(new_bench, build_image):
    """Cycles of three passes over some bytes, and of a loop of code with caches off and on."""
    bench = new_bench(board=BOARD)

    def passes(place: int, size_bytes: int) -> tuple[list[int], list[int]]:
        source = PROGRAM.replace("PLACE", hex(place)).replace("BYTES", str(size_bytes))
        bench.flash(build_image(source, BOARD))
        bench.run()
        return bench.read("cycles", 3), bench.read("code_cycles", 2)

    return passes


def miss_cycles() -> int:
    return load_chip(BOARD).waits.bus_cycles


def test_what_fits_the_cache_is_fetched_once(run) -> None:
    size_bytes = CACHE_BYTES // 2
    (first, second, third), _ = run(AXI, size_bytes)
    lines = size_bytes // LINE_BYTES
    assert abs(first - second - lines * miss_cycles()) <= 8 * miss_cycles()
    assert second == third


def test_what_does_not_fit_is_fetched_each_time(run) -> None:
    """The line used longest ago goes first, so that a pass finds nothing of the one before."""
    (_, second, third), _ = run(AXI, 2 * CACHE_BYTES)
    (_, fitting, _), _ = run(AXI, CACHE_BYTES // 2)
    lines = 2 * CACHE_BYTES // LINE_BYTES
    assert abs(second - 4 * fitting - lines * miss_cycles()) <= 0.02 * second
    assert second == third


def test_tightly_coupled_memory_never_waits(run) -> None:
    (_, second, third), _ = run(DTCM, 2 * CACHE_BYTES)
    (_, fitting, _), _ = run(AXI, CACHE_BYTES // 2)
    assert second == third
    assert abs(second - 4 * fitting) <= 0.02 * second


def test_caches_that_firmware_switches_on_act_at_once(run) -> None:
    _, (off, on) = run(DTCM, 64)
    assert on < off / 2
