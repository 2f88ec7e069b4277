"""CYCCNT: exact at any instruction, the same however the run is cut up, and as the model says."""

import pytest
from pyocd.core.target import Target

from mcuq_lab.nucleosim.timing import timing_model

MEASURED = """
volatile uint32_t empty, loop, divisions, total;
int main(void) {
  DEMCR |= 1u << 24;
  DWT_CYCCNT = 0;
  DWT_CTRL |= 1;
  uint32_t t0 = DWT_CYCCNT, t1 = DWT_CYCCNT;
  __asm volatile(
      "movs r0, #100\\n"
      "1: add r1, r1, r0\\n subs r0, #1\\n bne 1b\\n" ::: "r0", "r1", "cc");
  uint32_t t2 = DWT_CYCCNT;
  __asm volatile("movs r0, #3\\n udiv r1, %0, r0\\n udiv r1, r0, %0"
      :: "r"(0x7FFFFFFF) : "r0", "r1");
  uint32_t t3 = DWT_CYCCNT;
  empty = t1 - t0;
  loop = t2 - t1;
  divisions = t3 - t2;
  total = DWT_CYCCNT;
  return 0;
}
"""
RESULTS = ("empty", "loop", "divisions", "total")


def results(bench):
    return {name: bench.read(name)[0] for name in RESULTS}


def test_counts_of_known_code(bench, build_image):
    bench.flash(build_image(MEASURED))
    assert bench.run() is Target.State.HALTED
    counts = results(bench)
    assert 1 <= counts["empty"] <= 3
    # 100 passes of two cycles and a taken branch of 2 to 4.
    assert 400 <= counts["loop"] - counts["empty"] <= 620
    # 2 to 12 cycles each: a wide quotient, and one that is 0.
    assert 10 <= counts["divisions"] - counts["empty"] <= 20


@pytest.mark.parametrize("slice_cycles", [1, 7, 100])
def test_slices_do_not_change_counts(new_bench, build_image, slice_cycles):
    image = build_image(MEASURED)
    whole, sliced = new_bench(), new_bench()
    for bench in (whole, sliced):
        bench.flash(image)
    sliced.board.slice_cycles = slice_cycles
    whole.run()
    assert sliced.run(polls=5000) is Target.State.HALTED
    assert results(sliced) == results(whole)


def test_steps_do_not_change_counts(new_bench, build_image):
    image = build_image(MEASURED)
    whole, stepped = new_bench(), new_bench()
    for bench in (whole, stepped):
        bench.flash(image)
    whole.run()
    for _ in range(1000):
        pc = stepped.target.read_core_register("pc")
        if stepped.target.read16(pc) == 0xBE00:
            break
        stepped.target.step()
    assert results(stepped) == results(whole)


def test_breakpoints_do_not_change_counts(new_bench, build_image):
    image = build_image("""
        volatile uint32_t total;
        USED void tick(void) { __asm volatile("ldr r0, [sp]\\n add r0, r0\\n" ::: "r0"); }
        int main(void) {
          DEMCR |= 1u << 24; DWT_CTRL |= 1; DWT_CYCCNT = 0;
          for (int i = 0; i < 5; i++) tick();
          total = DWT_CYCCNT;
          return 0;
        }""")
    whole, stopped = new_bench(), new_bench()
    for bench in (whole, stopped):
        bench.flash(image)
    whole.run()
    middle = stopped.symbol("tick") + 2
    stopped.target.set_breakpoint(middle, Target.BreakpointType.HW)
    stops = 0
    while stopped.run() is Target.State.HALTED:
        if stopped.target.read_core_register("pc") != middle:
            break
        stops += 1
        stopped.target.remove_breakpoint(middle)
        stopped.target.step()
        stopped.target.set_breakpoint(middle, Target.BreakpointType.HW)
    assert stops == 5
    assert stopped.read("total") == whole.read("total")


def test_counter_needs_both_enables(bench, build_image):
    bench.flash(
        build_image("int main(void) { for (volatile int i = 0; i < 100; i++) { } return 0; }")
    )
    for demcr, control, counts in ((0, 1, False), (1 << 24, 0, False), (1 << 24, 1, True)):
        bench.target.reset_and_halt()
        bench.target.write32(0xE000EDFC, demcr)
        bench.target.write32(0xE0001000, control)
        bench.target.write32(0xE0001004, 5)
        bench.run()
        assert (bench.target.read32(0xE0001004) > 5) is counts


def test_board_names_its_model(bench):
    model = timing_model("cortex-m4")
    assert bench.board.timing.name == model.name
    assert bench.board.timing.version
    assert bench.board.timing.uncertainty


def test_instruction_count(bench):
    code = [0x2003, 0x3801, 0xD1FD, 0xBE00]  # movs r0, #3; subs r0, #1; bne; bkpt
    bench.target.write_memory_block8(0x20000100, b"".join(h.to_bytes(2, "little") for h in code))
    bench.target.write_core_register("pc", 0x20000100)
    before = bench.board.instructions
    assert bench.run() is Target.State.HALTED
    assert bench.board.instructions - before == 1 + 3 * 2


def test_a_step_into_code_that_has_run_is_one_instruction(bench):
    code = [0x2003, 0x3001, 0x3001, 0x3104, 0xD4FB, 0xBE00]  # movs; 1: adds, adds, adds r1; bmi 1b
    start = 0x2000_0100
    data = b"".join(halfword.to_bytes(2, "little") for halfword in code)
    bench.target.write_memory_block8(start, data)
    for _ in range(2):
        bench.target.write_core_register("r1", 0xFFFFFFFB)
        bench.target.write_core_register("pc", start)
        assert bench.run() is Target.State.HALTED
    bench.target.write_core_register("r1", 0xFFFFFFFB)
    bench.target.write_core_register("pc", start)
    before = bench.board.instructions
    for count, offset in enumerate((2, 4, 6, 8, 2, 4, 6, 8, 10), start=1):
        bench.target.step()
        assert bench.target.read_core_register("pc") == start + offset
        assert bench.board.instructions - before == count
