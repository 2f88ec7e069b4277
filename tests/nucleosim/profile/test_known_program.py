"""A program whose profile is known in full: from its text, and the manual's counts for a few."""

import pandas as pd
import pytest

from mcuq_lab.nucleosim import NucleoSimError
from mcuq_lab.nucleosim.profile import CAUSE_COLUMNS, OUTSIDE, profiled

PROGRAM = """
USED __attribute__((naked, aligned(16))) void leaf(void) {
  __asm volatile("ldr r1, [sp]\\n add r1, r1\\n bx lr\\n");
}
USED __attribute__((naked, aligned(16))) void loop(void) {
  __asm volatile("push {r4, lr}\\n movs r4, #20\\n 1: subs r4, #1\\n bne 1b\\n"
                 "bl leaf\\n pop {r4, pc}\\n");
}
USED __attribute__((naked, aligned(16))) void hop(void) { __asm volatile("b leaf\\n"); }
USED __attribute__((naked, aligned(16))) void divide(void) {
  __asm volatile("mvn r0, #0\\n movs r1, #1\\n udiv r2, r0, r1\\n bx lr\\n"
                 ".word 0\\n nop\\n");
}
USED int down(int n) { return n ? n + down(n - 1) : 0; }
void (*volatile chosen)(void);
volatile int sum;
int main(void) {
  for (int i = 0; i < 3; i++) loop();
  for (int i = 0; i < 4; i++) hop();
  for (int i = 0; i < 6; i++) { chosen = i % 3 ? leaf : divide; chosen(); }
  sum = down(3);
  return 0;
}
"""
CALLS = {
    ("Reset_Handler", "main"): 1,
    ("main", "loop"): 3,
    ("main", "hop"): 4,
    ("main", "leaf"): 4,
    ("main", "divide"): 2,
    ("main", "down"): 1,
    ("loop", "leaf"): 3,
    ("hop", "leaf"): 4,
    ("down", "down"): 3,
}
# 1 each, the load-use stall, and BX with 3 cycles of refill.
LEAF_CYCLES = 1 + 1 + 1 + 1 + 3
# 32 bits of quotient, four a cycle, after a set-up of two: 12 cycles, the most there can be.
DIVIDE_CYCLES = 12


@pytest.fixture
def profile(bench, build_image):
    image = build_image(PROGRAM)
    bench.flash(image)
    with profiled(bench.board, image.path) as profile:
        bench.run()
    return profile


def only(frame: pd.DataFrame, **values) -> pd.Series:
    for column, value in values.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_calls_are_counted_by_caller_and_callee(profile):
    calls = profile.calls()
    assert (
        dict(zip(zip(calls["caller"], calls["callee"], strict=True), calls["calls"], strict=True))
        == CALLS
    )
    assert only(calls, caller="loop", callee="leaf").inclusive_cycles == 3 * LEAF_CYCLES
    assert only(calls, caller="hop", callee="leaf").inclusive_cycles == 4 * LEAF_CYCLES


def test_own_and_inclusive_cycles(profile):
    functions = profile.functions()
    leaf, hop = only(functions, function="leaf"), only(functions, function="hop")
    assert (leaf.calls, leaf.instructions, leaf.cycles) == (11, 33, 11 * LEAF_CYCLES)
    assert leaf.inclusive_cycles == leaf.cycles
    assert hop.inclusive_cycles == hop.cycles + 4 * LEAF_CYCLES
    # Of a recursion, the outermost call holds the others; nothing is counted twice.
    down = only(functions, function="down")
    assert (down.calls, down.inclusive_cycles) == (4, down.cycles)
    assert only(functions, function="Reset_Handler").inclusive_cycles == profile.cycles
    assert list(functions["cycles"]) == sorted(functions["cycles"], reverse=True)
    assert functions["share"].sum() == pytest.approx(1)


def test_tree_has_a_node_for_each_path(profile):
    tree = profile.call_tree()
    leaves = tree[tree["function"] == "leaf"]
    assert set(tree["function"].iloc[leaves["parent"]]) == {"loop", "hop", "main"}
    assert tree["depth"].max() == 5  # Reset_Handler, main, and down(3) to down(0)
    root = tree.iloc[0]
    assert root.inclusive_cycles == tree["cycles"].sum() == profile.cycles


def test_blocks_of_the_loop(profile):
    blocks = profile.blocks()
    head, body, call, end = blocks[blocks["function"] == "loop"].itertuples()
    assert [head.executions, body.executions, call.executions, end.executions] == [3, 60, 3, 3]
    assert [head.size_bytes, body.size_bytes, call.size_bytes, end.size_bytes] == [4, 4, 4, 2]
    assert body.instructions == 120
    # Two instructions a turn, and a refill of one cycle but for the last turn.
    assert (body.issue_cycles, body.branch_cycles) == (120, 57)
    assert body.cycles == 177
    assert body.cycles_per_execution == pytest.approx(177 / 60)
    # POP of two registers, one of them PC: 1 + N + P.
    assert (end.issue_cycles, end.memory_cycles, end.branch_cycles) == (3, 6, 9)


def test_causes_by_instruction(profile):
    leaf = profile.instructions("leaf")
    assert list(leaf["text"]) == ["ldr r1, [sp]", "add r1, r1", "bx lr"]
    assert list(leaf["executions"]) == [11] * 3
    assert only(leaf, text="add r1, r1").load_use_cycles == 11
    assert only(leaf, text="bx lr").branch_cycles == 33
    assert leaf["line"].str.match(r"image\d+\.c:4$").all()
    division = only(profile.instructions("divide"), text="udiv r2, r0, r1")
    assert division.cycles == 2 * DIVIDE_CYCLES
    assert division.execute_cycles == division.cycles - 2


def test_listing_shows_code_that_never_ran_and_no_constants(profile):
    divide = profile.instructions("divide")
    assert divide["text"].iloc[-1] == "nop"
    assert divide["executions"].iloc[-1] == 0
    assert len(divide[divide["executions"] > 0]) == 4
    main = profile.instructions("main")
    assert not main["text"].str.startswith(".inst").any()


def test_every_table_adds_up(profile):
    for table in (profile.blocks(), profile.functions(), profile.instructions()):
        assert table["cycles"].sum() == profile.cycles
        assert (table[list(CAUSE_COLUMNS)].sum(axis=1) == table["cycles"]).all()
    assert OUTSIDE not in set(profile.functions()["function"])


def test_without_symbols_the_memory_is_the_function(bench, build_image):
    bench.flash(build_image(PROGRAM))
    with profiled(bench.board) as profile:
        bench.run()
    (function,) = profile.functions()["function"]
    assert function == "(flash at 0x08000000)"
    assert profile.functions()["cycles"].sum() == profile.cycles
    assert (profile.instructions(function)["function"] == function).all()


def test_waits_have_their_causes(bench, build_image):
    from mcuq_lab.nucleosim.timing.waits import CodeWaits, Waits

    image = build_image(PROGRAM)
    bench.flash(image)
    bench.target.step()
    bench.board._machine.set_waits(Waits(CodeWaits(0x0800_0000, 0x0810_0000, 16, 5, None, None)))
    bench.target.reset_and_halt()
    with profiled(bench.board, image.path) as profile:
        bench.run()
    # Without a cache each entry of a line waits; `leaf` lies within one.
    leaf = only(profile.functions(), function="leaf")
    assert leaf.code_wait_cycles == 11 * 5
    assert leaf.cycles == 11 * (LEAF_CYCLES + 5)


def test_a_board_is_profiled_once_at_a_time(bench):
    with (
        profiled(bench.board),
        pytest.raises(NucleoSimError, match="profiled already"),
        profiled(bench.board),
    ):
        pass
    with profiled(bench.board) as profile:
        pass
    assert profile.cycles == 0
    assert len(profile.blocks()) == 0


def test_errors_name_the_file_and_what_to_do(bench, build_image, tmp_path):
    (tmp_path / "a.elf").write_bytes(b"no ELF")
    for name in ("a.elf", "absent.elf"):
        with pytest.raises(NucleoSimError, match=name), profiled(bench.board, tmp_path / name):
            pass
    with (
        profiled(bench.board, build_image(PROGRAM).path) as profile,
        pytest.raises(NucleoSimError, match="no function 'inlined'"),
    ):
        profile.instructions("inlined")
