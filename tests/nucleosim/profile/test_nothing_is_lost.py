"""However a run is cut up, a profile has all cycles and instructions of the machine, no more."""

import random

import numpy as np
import pandas as pd
import pytest
from pyocd.core.target import Target

from mcuq_lab.nucleosim.chip import board_ids, load_chip
from mcuq_lab.nucleosim.engine import context as layout
from mcuq_lab.nucleosim.profile import CAUSE_COLUMNS, OUTSIDE, profiled
from mcuq_lab.nucleosim.timing.waits import Cache, CodeWaits, DataWaits, Waits

PROGRAM = """
volatile uint32_t calls, total;
static const uint32_t table[64] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
USED void count_call(void) { calls++; }
USED void SVC_Handler(void) { count_call(); ICSR = 1u << 28; }
USED void PendSV_Handler(void) { count_call(); }
USED int branches(uint32_t n) {
  int sum = 0;
  for (uint32_t i = 0; i < n; i++) {
    if (i * 2654435761u >> 30 == 1) sum += i;
    if (i & 4) sum ^= table[i & 63] / (i + 1);
    switch (i % 5) {
      case 0: sum += 3; break;
      case 1: sum ^= 1; break;
      case 2: count_call(); break;
      default: sum -= 7;
    }
  }
  return sum;
}
USED __attribute__((naked)) uint32_t skips(uint32_t n) {
  __asm volatile("1: lsls r1, r0, #30\\n beq 2f\\n nop\\n nop.w\\n 2: it mi\\n addmi r2, r0\\n"
                 "itt cc\\n addcc r2, r0\\n movcc r3, r2\\n subs r0, #1\\n bne 1b\\n"
                 "cmp r0, #0\\n it eq\\n bxeq lr\\n nop\\n");
}
int main(void) {
  calls = total = 0;
  for (uint32_t i = 1; i < 9; i++) {
    __asm volatile("svc 0" ::: "memory");
    total += branches(3 * i) + skips(i);
  }
  return 0;
}
"""
WAITS = Waits(
    CodeWaits(0x0800_0000, 0x0810_0000, 16, 5, 5, Cache(4, 16, 4)),
    (DataWaits(0x0800_0000, 0x0810_0000, 6),),
    Cache(2, 16, 2),
)
BOARDS = tuple({load_chip(board).core.name: board for board in reversed(board_ids())}.values())
INSTRUCTION_LIMIT = 20_000


def check(profile, bench, cycles: int, instructions: int) -> None:
    """The tables have what the board has counted since `cycles` and `instructions`."""
    assert profile.cycles == bench.board.cycles - cycles
    functions, blocks, listing = profile.functions(), profile.blocks(), profile.instructions()
    assert functions["cycles"].sum() == profile.cycles
    outside = functions.loc[functions["function"] == OUTSIDE, "cycles"].sum()
    assert profile.call_tree()["cycles"].sum() == profile.cycles - outside
    for table in (functions[functions["function"] != OUTSIDE], blocks, listing):
        assert table["cycles"].sum() == profile.cycles - outside
        assert table[list(CAUSE_COLUMNS)].to_numpy().sum() == profile.cycles - outside
    assert listing["executions"].sum() == bench.board.instructions - instructions
    assert blocks["instructions"].sum() == listing["executions"].sum()


def finished(bench) -> bool:
    return bench.target.read16(bench.target.read_core_register("pc")) == 0xBE00


def waiting(bench, waits: Waits | None) -> None:
    """Let the board's memories wait, from a reset on."""
    if waits is not None:
        bench.target.step()
        bench.board._machine.set_waits(waits)
        bench.target.reset_and_halt()


@pytest.mark.parametrize("waits", [None, WAITS], ids=["no waits", "waits"])
@pytest.mark.parametrize("board", BOARDS)
def test_random_runs(new_bench, build_image, board, waits):
    image = build_image(PROGRAM, board)
    bench = new_bench(board=board)
    bench.flash(image)
    waiting(bench, waits)
    generator = random.Random(7)
    places = [image.symbols[name] for name in ("branches", "skips", "count_call", "SVC_Handler")]
    profiles = 0
    while not finished(bench):
        cycles, instructions = bench.board.cycles, bench.board.instructions
        with profiled(bench.board, image.path) as profile:
            for _ in range(generator.randrange(1, 4)):
                bench.board.slice_cycles = generator.choice((1, 13, 170))
                action = generator.choice(("poll", "step", "break", "look"))
                if action == "poll" and not finished(bench):
                    bench.run(polls=generator.randrange(1, 5))
                    bench.target.halt()
                elif action == "step":
                    for _ in range(generator.randrange(1, 30)):
                        if not finished(bench):
                            bench.target.step()
                elif action == "break" and not finished(bench):
                    address = generator.choice(places) + 2 * generator.randrange(4)
                    bench.target.set_breakpoint(address, Target.BreakpointType.HW)
                    bench.run(polls=20)
                    bench.target.halt()
                    bench.target.remove_breakpoint(address)
                elif action == "look":
                    check(profile, bench, cycles, instructions)
        check(profile, bench, cycles, instructions)
        profiles += 1
    assert profiles > 3
    whole = new_bench(board=board)
    whole.flash(image)
    run_whole(whole)
    assert (bench.read("total"), bench.read("calls")) == (whole.read("total"), whole.read("calls"))


def run_whole(bench) -> None:
    assert bench.run() is Target.State.HALTED


def run_sliced(bench) -> None:
    bench.board.slice_cycles = 7
    assert bench.run(polls=INSTRUCTION_LIMIT) is Target.State.HALTED


def run_stepped(bench) -> None:
    while not finished(bench):
        bench.target.step(disable_interrupts=False)


def run_broken(bench) -> None:
    inside = bench.symbol("branches") + 10
    bench.target.set_breakpoint(inside, Target.BreakpointType.HW)
    while bench.run() is Target.State.HALTED and not finished(bench):
        bench.target.remove_breakpoint(inside)
        bench.target.step()
        bench.target.set_breakpoint(inside, Target.BreakpointType.HW)


def profile_of(bench, image, run):
    bench.flash(image)
    cycles, instructions = bench.board.cycles, bench.board.instructions
    with profiled(bench.board, image.path) as profile:
        run(bench)
    check(profile, bench, cycles, instructions)
    return profile


@pytest.mark.parametrize("run", [run_sliced, run_stepped, run_broken])
def test_tables_do_not_depend_on_how_the_board_is_run(new_bench, build_image, run):
    image = build_image(PROGRAM)
    whole = profile_of(new_bench(), image, run_whole)
    other = profile_of(new_bench(), image, run)
    for table in ("instructions", "blocks", "functions", "calls", "call_tree"):
        pd.testing.assert_frame_equal(getattr(whole, table)(), getattr(other, table)())


@pytest.mark.parametrize("board", BOARDS)
def test_profiling_changes_no_count(new_bench, build_image, board):
    image = build_image(PROGRAM, board)
    plain = new_bench(board=board)
    plain.flash(image)
    before = plain.board.cycles
    run_whole(plain)
    assert (
        profile_of(new_bench(board=board), image, run_whole).cycles == plain.board.cycles - before
    )


def test_a_full_table_loses_nothing(bench, build_image, monkeypatch):
    """The table holds fewer rows than the program needs, so it is emptied in mid-run."""
    monkeypatch.setattr(layout, "MAX_ROWS", 8)
    profile_of(bench, build_image(PROGRAM), run_whole)


def test_a_reset_and_code_that_changes(bench, build_image):
    image = build_image(PROGRAM)
    bench.flash(image)
    cycles, instructions = bench.board.cycles, bench.board.instructions
    with profiled(bench.board, image.path) as profile:
        run_whole(bench)
        bench.target.reset_and_halt()
        for code in ([0x2003, 0x3801, 0xD1FD, 0xBE00], [0x2105, 0x3901, 0xD1FD, 0xBE00]):
            ram = b"".join(halfword.to_bytes(2, "little") for halfword in code)
            bench.target.write_memory_block8(0x2000_4000, ram)
            bench.target.write_core_register("pc", 0x2000_4000)
            run_whole(bench)
    check(profile, bench, cycles, instructions)
    in_ram = profile.instructions()
    in_ram = in_ram[in_ram["function"].str.startswith("(RAM")]
    assert sorted(in_ram["text"]) == sorted(
        ["movs r0, #3", "subs r0, #1", "movs r1, #5", "subs r1, #1", *["bne #0x20004002"]]
    )
    executions = in_ram.set_index("text")["executions"]
    assert executions.to_dict() == {
        "movs r0, #3": 1,
        "subs r0, #1": 3,
        "movs r1, #5": 1,
        "subs r1, #1": 5,
        "bne #0x20004002": 8,
    }


def test_handlers_are_called_by_what_they_interrupt(bench, build_image):
    image = build_image(PROGRAM)
    profile = profile_of(bench, image, run_whole)
    calls = profile.calls().set_index(["caller", "callee"])["calls"]
    assert calls["main", "SVC_Handler"] == calls["main", "PendSV_Handler"] == 8
    assert calls["SVC_Handler", "count_call"] == calls["PendSV_Handler", "count_call"] == 8
    outside = profile.functions().set_index("function").loc[OUTSIDE]
    # Entry 12, return 10, of sixteen exceptions.
    assert outside["cycles"] == 16 * 22
    assert not np.any(outside[list(CAUSE_COLUMNS)])
