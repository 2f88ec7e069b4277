"""Where memory begins and ends on each board, and what is particular to a region."""

import pytest
from pyocd.core import exceptions
from pyocd.core.target import Target

from mcuq_lab.nucleosim.chip import board_ids, load_chip

PRECISERR, BFARVALID, IBUSERR = 1 << 9, 1 << 15, 1 << 8

TOUCH = """
volatile uint32_t at, value;
int main(void) {
  __asm volatile("culprit: ldr %0, [%1]" : "=r"(value) : "r"(at));
  return 0;
}
"""
# movs r0, #7; bx lr
CODE = 0x47702007
CALL = """
volatile uint32_t at, result;
int main(void) {
  uint32_t returned;
  __asm volatile("blx %1\\n mov %0, r0" : "=r"(returned) : "r"(at | 1) : "r0", "lr", "memory");
  result = returned;
  return 0;
}
"""


def regions(board):
    """(first address, first address behind) of RAM and flash, wherever they are visible."""
    chip = load_chip(board)
    memories = (chip.flash, *chip.rams)
    return [(start, start + memory.size_bytes) for memory in memories for start in memory.starts]


def call(bench, build_image, address):
    """What a function at `address` returns; None if it faults."""
    bench.flash(build_image(CALL, bench.board.chip.id))
    bench.target.write32(address, CODE)
    bench.target.write32(bench.symbol("at"), address)
    assert bench.run() is Target.State.HALTED
    return None if bench.read("fault_record")[0] else bench.read("result")[0]


def test_debugger_reaches_exactly_what_there_is(any_bench):
    target, board = any_bench.target, any_bench.board.chip.id
    starts = {start for start, _ in regions(board)}
    for start, end in regions(board):
        target.read32(start)
        target.read32(end - 4)
        if end not in starts:
            with pytest.raises(exceptions.TransferFaultError):
                target.read32(end)
    for ram in any_bench.board.chip.rams:
        target.write32(ram.start + ram.size_bytes - 4, 0x1234ABCD)
        for start in ram.starts:
            assert target.read32(start + ram.size_bytes - 4) == 0x1234ABCD


@pytest.mark.parametrize("board", board_ids())
def test_core_faults_behind_each_region(new_bench, build_image, board):
    bench = new_bench(board=board)
    bench.flash(build_image(TOUCH, board))
    starts = {start for start, _ in regions(board)}
    for _, end in regions(board):
        for address in (end - 4, end):
            bench.target.reset_and_halt()
            bench.target.write32(bench.symbol("at"), address)
            assert bench.run() is Target.State.HALTED
            record = bench.read("fault_record", 12)
            if address < end or end in starts:
                assert record[0] == 0, hex(address)
            else:
                assert record[1:4:2] == [PRECISERR | BFARVALID, address], hex(address)
                assert record[10] == bench.symbol("culprit")


def test_code_runs_from_ram_but_not_from_ccm(new_bench, build_image):
    bench = new_bench(board="nucleo-f429zi")
    assert call(bench, build_image, 0x20020000) == 7
    assert call(bench, build_image, 0x10000100) is None
    record = bench.read("fault_record", 12)
    assert record[1] == IBUSERR
    assert record[10] == 0x10000100


def test_ccm_holds_data_and_stack(new_bench, build_image):
    source = """
        volatile uint32_t sum;
        USED uint32_t total(const uint32_t *values) { return values[0] + values[1]; }
        int main(void) {
          volatile uint32_t *ccm = (volatile uint32_t *)0x10000000;
          ccm[0] = 40; ccm[1] = 2;
          __asm volatile("mov r4, sp\\n mov sp, %0\\n push {r5, r6}\\n pop {r5, r6}\\n mov sp, r4"
                         :: "r"(0x10010000) : "r4", "r5", "r6", "memory");
          sum = total((const uint32_t *)0x10000000);
          return 0;
        }"""
    bench = new_bench(board="nucleo-f429zi")
    bench.flash(build_image(source, "nucleo-f429zi"))
    assert bench.run() is Target.State.HALTED
    assert bench.read("fault_record") == [0]
    assert bench.read("sum") == [42]


def test_sram2_is_one_memory_at_two_addresses(new_bench, build_image):
    source = """
        volatile uint32_t seen[2];
        int main(void) {
          REG(0x10000010) = 5;
          seen[0] = REG(0x2000C010);
          REG(0x2000FFFC) = 6;
          seen[1] = REG(0x10003FFC);
          return 0;
        }"""
    bench = new_bench(board="nucleo-l432kc")
    bench.flash(build_image(source, "nucleo-l432kc"))
    assert bench.run() is Target.State.HALTED
    assert bench.read("seen", 2) == [5, 6]


@pytest.mark.parametrize(
    ("runs_at", "written_at"), [(0x10000100, 0x2000C100), (0x2000C100, 0x10000100)]
)
def test_code_changed_by_the_debugger_at_the_other_address(
    new_bench, build_image, runs_at, written_at
):
    bench = new_bench(board="nucleo-l432kc")
    assert call(bench, build_image, runs_at) == 7
    bench.target.reset_and_halt()
    bench.target.write32(written_at, CODE + 1)  # returns 8
    bench.target.write32(bench.symbol("at"), runs_at)
    assert bench.run() is Target.State.HALTED
    assert bench.read("result") == [8]
