"""Reset, run, halt, step, breakpoints, registers: what pyOCD does with the core."""

import pytest
from pyocd.core.target import Target

COUNTER = """
volatile uint32_t count;
USED void tick(void) { count = count + 1; }
int main(void) {
  count = 0;
  for (int i = 0; i < 10; i++) tick();
  return 0;
}
"""
FOR_EVER = "volatile uint32_t count; int main(void) { count = 0; for (;;) count++; }"
FLOATS = """
volatile float a, b, product;
int main(void) {
  CPACR = 0xFu << 20;
  __asm volatile("dsb\\nisb");
  product = a * b;
  BKPT();
  return 0;
}
"""
IT_BLOCK = """
int main(void) {
  __asm volatile(
      "movs r0, #1\\n movs r1, #0\\n movs r2, #0\\n cmp r0, #1\\n"
      "ite eq\\n moveq r1, #5\\n movne r2, #6\\n"
      "nop\\n bkpt 0\\n" ::: "r0", "r1", "r2", "cc");
  return 0;
}
"""


def test_session_finds_the_core_and_its_units(bench):
    core = bench.target.selected_core
    assert core.name == "Cortex-M4"
    assert core.has_fpu
    assert len(core.fpb.hw_breakpoints) == 6
    assert core.dwt.has_cycle_counter
    assert bench.target.get_state() is Target.State.HALTED


def test_reset_starts_at_the_vector_table(bench, build_image):
    bench.flash(build_image(COUNTER))
    assert bench.target.read_core_register("pc") == bench.symbol("Reset_Handler")
    assert bench.target.read_core_register("msp") == 0x20040000
    assert bench.target.read_core_register("xpsr") == 0x01000000
    assert bench.target.read_core_register("lr") == 0xFFFFFFFF


def test_runs_to_breakpoint_instruction(bench, build_image):
    bench.flash(build_image(COUNTER))
    assert bench.run() is Target.State.HALTED
    assert bench.target.get_halt_reason() is Target.HaltReason.BREAKPOINT
    assert bench.read("count") == [10]
    assert bench.target.read16(bench.target.read_core_register("pc")) == 0xBE00


def test_hardware_breakpoint_stops_before_its_instruction(bench, build_image):
    bench.flash(build_image(COUNTER))
    tick = bench.symbol("tick")
    bench.target.set_breakpoint(tick, Target.BreakpointType.HW)
    for passes in range(3):
        assert bench.run() is Target.State.HALTED
        assert bench.target.read_core_register("pc") == tick
        assert bench.read("count") == [passes]
        bench.target.remove_breakpoint(tick)
        bench.target.step()
        bench.target.set_breakpoint(tick, Target.BreakpointType.HW)
    bench.target.remove_breakpoint(tick)
    assert bench.run() is Target.State.HALTED
    assert bench.read("count") == [10]


def test_software_breakpoint_in_ram(bench):
    code = [0x1C40, 0x1C40, 0x1C40, 0xE7FB]  # adds r0, #1 three times, back to the start
    bench.target.write_memory_block8(0x20000100, b"".join(h.to_bytes(2, "little") for h in code))
    bench.target.write_core_register("r0", 0)
    bench.target.write_core_register("pc", 0x20000100)
    bench.target.set_breakpoint(0x20000104, Target.BreakpointType.SW)
    assert bench.run() is Target.State.HALTED
    assert bench.target.read_core_register("pc") == 0x20000104
    assert bench.target.read_core_register("r0") == 2


def test_halts_an_endless_loop(bench, build_image):
    bench.flash(build_image(FOR_EVER))
    bench.target.resume()
    assert bench.target.get_state() is Target.State.RUNNING
    bench.target.halt()
    assert bench.target.get_state() is Target.State.HALTED
    first = bench.read("count")[0]
    assert first > 100_000
    bench.target.resume()
    bench.target.get_state()
    bench.target.halt()
    assert bench.read("count")[0] > first


def test_steps_count_and_follow_branches(bench, build_image):
    bench.flash(build_image(COUNTER))
    visited = set()
    before = bench.board.instructions
    for _ in range(60):
        bench.target.step()
        visited.add(bench.target.read_core_register("pc"))
    assert bench.symbol("main") in visited
    assert bench.symbol("tick") in visited
    assert bench.board.instructions - before == 60
    assert bench.read("count")[0] > 0


def test_steps_over_a_conditional_block_as_one(bench, build_image):
    bench.flash(build_image(IT_BLOCK))
    for _ in range(20):
        bench.target.step()
    assert bench.target.read_core_register("r1") == 5
    assert bench.target.read_core_register("r2") == 0


def test_registers_hold_what_is_written(bench):
    values = {f"r{n}": 0x11111111 * n for n in range(13)}
    values |= {"lr": 0x08000101, "msp": 0x20001000, "psp": 0x20002000, "pc": 0x08000200}
    values |= {"primask": 1, "basepri": 0x20, "faultmask": 0, "control": 0}
    for name, value in values.items():
        bench.target.write_core_register(name, value)
    for name, value in values.items():
        assert bench.target.read_core_register(name) == value, name
    assert bench.target.read_core_register("sp") == 0x20001000


def test_floating_point(bench, build_image):
    bench.flash(build_image(FLOATS))
    bench.target.write32(bench.symbol("a"), 0x40200000)  # 2.5
    bench.target.write32(bench.symbol("b"), 0xC0800000)  # -4.0
    assert bench.run() is Target.State.HALTED
    assert bench.read("fault_record") == [0]
    assert bench.read("product") == [0xC1200000]  # -10.0
    bench.target.write_core_register("s7", 1.25)
    assert bench.target.read_core_register("s7") == pytest.approx(1.25)


def test_waiting_for_interrupt_sleeps(bench, build_image):
    bench.flash(build_image('int main(void) { __asm volatile("wfi"); return 0; }'))
    bench.target.resume()
    assert bench.target.get_state() is Target.State.SLEEPING
    cycles = bench.board.cycles
    assert bench.target.get_state() is Target.State.SLEEPING
    assert bench.board.cycles > cycles


def test_firmware_resets_itself(bench, build_image):
    image = build_image("""
        volatile uint32_t starts;
        int main(void) {
          starts = starts + 1;
          if (starts < 3) { AIRCR = 0x05FA0004; for (;;) { } }
          return 0;
        }""")
    bench.flash(image)
    bench.target.write32(bench.symbol("starts"), 0)
    assert bench.run() is Target.State.HALTED
    assert bench.read("starts") == [3]
    assert bench.target.read32(0x40023874) & 1 << 28  # RCC_CSR.SFTRSTF


@pytest.mark.parametrize("reset_type", ["hw", "sw_system", "sw_core", "sw_emulated"])
def test_every_kind_of_reset(new_bench, build_image, reset_type):
    bench = new_bench(reset_type=reset_type)
    bench.flash(build_image(COUNTER))
    bench.run()
    bench.target.reset_and_halt()
    assert bench.target.read_core_register("pc") == bench.symbol("Reset_Handler")
    assert bench.run() is Target.State.HALTED
    assert bench.read("count") == [10]


def test_connects_under_reset(new_bench, build_image):
    uid = "sim:nucleo-f412zg:under-reset"
    bench = new_bench(uid=uid)
    image = build_image(FOR_EVER)
    bench.flash(image)
    bench.session.close()
    bench = new_bench(uid=uid, connect_mode="under-reset")
    assert bench.target.get_state() is Target.State.HALTED
    assert bench.target.read_core_register("pc") == image.symbols["Reset_Handler"]


def test_boards_are_independent(new_bench):
    one, other = new_bench(), new_bench()
    one.target.write32(0x20000000, 1)
    other.target.write32(0x20000000, 2)
    assert one.target.read32(0x20000000) == 1
    assert other.target.read32(0x20000000) == 2


def test_runs_repeat_exactly(new_bench, build_image):
    image = build_image(COUNTER)
    totals = []
    for _ in range(2):
        bench = new_bench()
        bench.flash(image)
        bench.run()
        totals.append((bench.board.cycles, bench.board.instructions))
    assert totals[0] == totals[1]
