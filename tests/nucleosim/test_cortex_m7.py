"""What the Cortex-M7 has and the Cortex-M4 has not: on both boards that have one."""

import struct

import pytest
from pyocd.core.target import Target

from mcuq_lab.nucleosim.board import SimulatedBoard
from mcuq_lab.nucleosim.chip import board_ids, load_chip
from mcuq_lab.nucleosim.debug_port import DebugPort

BOARDS = [board for board in board_ids() if load_chip(board).core.name == "cortex-m7"]
CPUID, CCR, CCSIDR, CSSELR = 0xE000ED00, 0xE000ED14, 0xE000ED80, 0xE000ED84
ITCMCR, DTCMCR = 0xE000EF90, 0xE000EF94
BFSR_IMPRECISE = 1 << 10

pytestmark = pytest.mark.parametrize("board", BOARDS)


@pytest.fixture
def bench(new_bench, board):
    return new_bench(board=board)


@pytest.fixture
def image(build_image, board):
    return lambda source: build_image(source, board)


def test_there_are_two(board):
    assert BOARDS == ["nucleo-f767zi", "nucleo-h743zi"]


def test_pyocd_discovers_core_and_units_through_its_rom_tables(bench):
    core = bench.target.selected_core
    assert core.name == "Cortex-M7"
    assert core.has_fpu
    assert (len(core.fpb.hw_breakpoints), core.fpb.revision) == (8, 2)
    assert core.dwt.has_cycle_counter
    assert bench.target.read32(CPUID) == 0x411FC271
    assert bench.target.read32(0xE000EF40) == 0x10110221


def test_vectors_come_from_the_boot_address(bench, image):
    bench.flash(image("int main(void) { return 0; }"))
    boot = 0x00200000 if bench.board.chip.flash.alias else 0x08000000
    assert bench.target.read32(0xE000ED08) == boot
    assert bench.target.read32(boot + 4) == bench.symbol("Reset_Handler") | 1
    assert bench.target.read_core_register("pc") == bench.symbol("Reset_Handler")


def test_sizes_of_caches_and_tightly_coupled_memories(bench):
    target = bench.target
    for selected, expected in ((1, 0xF01FE009), (0, 0xF00FE019)):
        target.write32(CSSELR, selected)
        assert target.read32(CCSIDR) == expected
    core = bench.board.chip.core
    for register, size in ((ITCMCR, core.itcm_bytes), (DTCMCR, core.dtcm_bytes)):
        value = target.read32(register)
        assert value & 1
        assert 512 << (value >> 3 & 0xF) == size


def test_caches_are_switched_by_their_bits(bench, image):
    assert bench.target.read32(CCR) == 0x40200
    assert not bench.board.instruction_cache_on
    assert not bench.board.data_cache_on
    bench.flash(
        image("""
        volatile uint32_t after;
        int main(void) {
          REG(0xE000EF50) = 0; REG(0xE000EF60) = 0x20;
          REG(0xE000ED14) |= 1u << 17;
          REG(0xE000EF5C) = 0x20000000; REG(0xE000EF74) = 0;
          after = REG(0xE000ED14);
          return 0;
        }""")
    )
    assert bench.run() is Target.State.HALTED
    assert bench.read("fault_record") == [0]
    assert bench.read("after") == [0x60200]
    assert bench.board.instruction_cache_on
    assert not bench.board.data_cache_on
    bench.target.write32(CCR, 0)
    assert bench.target.read32(CCR) == 0x40200
    bench.target.write32(CCR, 1 << 16)
    assert bench.board.data_cache_on
    bench.target.reset_and_halt()
    assert not bench.board.data_cache_on


DWT_LOCK = """
volatile uint32_t status, locked, unlocked;
int main(void) {
  DEMCR |= 1u << 24;
  status = REG(0xE0001FB4);
  DWT_CTRL |= 1;
  DWT_CYCCNT = 0x40000000;
  locked = DWT_CYCCNT;
  REG(0xE0001FB0) = 0xC5ACCE55;
  status |= REG(0xE0001FB4) << 8;
  DWT_CTRL |= 1;
  DWT_CYCCNT = 0x40000000;
  unlocked = DWT_CYCCNT;
  return 0;
}
"""


def test_cycle_counter_needs_its_key(bench, image):
    bench.flash(image(DWT_LOCK))
    bench.run()
    assert bench.read("status") == [0x103]
    assert bench.read("locked")[0] < 0x40000000  # pyOCD has switched the counter on
    assert 0 < bench.read("unlocked")[0] - 0x40000000 < 100
    bench.target.write32(0xE0001004, 7)  # the debugger needs none, and sees no lock
    assert bench.target.read32(0xE0001FB4) == 0


ADDS_IN_RAM = struct.pack("<4H", 0x1C40, 0x1C40, 0x1C40, 0xE7FB)  # adds r0, #1 thrice; back


@pytest.mark.parametrize("start", [0x20000100, 0x00000100], ids=["DTCM", "ITCM"])
def test_hardware_breakpoints_in_ram(bench, start):
    target = bench.target
    target.write_memory_block8(start, ADDS_IN_RAM)
    target.write_core_register("r0", 0)
    target.write_core_register("pc", start)
    target.set_breakpoint(start + 2, Target.BreakpointType.HW)
    assert bench.run() is Target.State.HALTED
    assert target.read_core_register("pc") == start + 2
    assert target.read_core_register("r0") == 1


def test_a_reset_empties_the_branch_predictor(bench, image):
    bench.flash(
        image("""
        volatile uint32_t odd;
        int main(void) {
          for (uint32_t i = 0; i < 30; i++) if (i % 3 == 1) odd++;
          return 0;
        }""")
    )
    cycles = []
    for _ in range(3):
        bench.target.reset_and_halt()
        before = bench.board.cycles
        assert bench.run() is Target.State.HALTED
        cycles.append(bench.board.cycles - before)
    assert cycles == [cycles[0]] * 3


def test_eight_hardware_breakpoints(bench):
    target = bench.target
    target.write_memory_block8(0x20000100, struct.pack("<H", 0x1C40) * 9)
    target.write_core_register("pc", 0x20000100)
    places = [0x20000102 + 2 * index for index in range(8)]
    for place in places:
        assert target.set_breakpoint(place, Target.BreakpointType.HW)
    assert not target.set_breakpoint(0x20000112, Target.BreakpointType.HW)
    for place in places:
        assert bench.run() is Target.State.HALTED
        assert target.read_core_register("pc") == place
        target.remove_breakpoint(place)


DOUBLES = """
volatile double a, b, product, quotient, root, least;
volatile int32_t rounded;
int main(void) {
  CPACR = 0xFu << 20;
  __asm volatile("dsb\\nisb");
  product = a * b + 1.0;
  quotient = a / b;
  __asm volatile("vsqrt.f64 d2, %P1\\n vmov.f64 %P0, d2" : "=w"(root) : "w"(a) : "d2");
  __asm volatile("vminnm.f64 %P0, %P1, %P2" : "=w"(least) : "w"(a), "w"(b));
  __asm volatile("vcvta.s32.f64 s0, %P1\\n vmov %0, s0" : "=r"(rounded) : "w"(b) : "s0");
  BKPT();
  return 0;
}
"""


def test_double_precision(bench, image):
    bench.flash(image(DOUBLES))
    for name, value in (("a", 2.0), ("b", -7.5)):
        bench.target.write_memory_block8(bench.symbol(name), struct.pack("<d", value))

    def double(name):
        return struct.unpack("<d", bytes(bench.target.read_memory_block8(bench.symbol(name), 8)))[0]

    assert bench.run() is Target.State.HALTED
    assert bench.read("fault_record") == [0]
    assert double("product") == -14.0
    assert double("quotient") == 2.0 / -7.5
    assert double("root") == 2.0**0.5
    assert double("least") == -7.5
    assert bench.read("rounded") == [0xFFFFFFF8]  # half away from zero


def test_debugger_reads_and_writes_doubles(bench):
    bench.target.write_core_register("d5", 1 / 3)
    assert bench.target.read_core_register("d5") == 1 / 3
    bench.target.write_core_register("s10", 0.0)
    assert bench.target.read_core_register("d5") != 1 / 3


def edges(chip):
    """First address behind each memory that has no neighbour."""
    regions = [(start, start + chip.flash.size_bytes) for start in chip.flash.starts]
    regions += [(ram.start, ram.start + ram.size_bytes) for ram in chip.rams]
    starts = {start for start, _ in regions}
    return [end for _, end in regions if end not in starts]


def test_memories_end_where_they_should(bench, image):
    source = """
        volatile uint32_t address, value, written;
        int main(void) {
          SHCSR = 0;
          value = REG(address);
          BKPT();
          return 0;
        }"""
    bench.flash(image(source))
    for end in edges(bench.board.chip):
        bench.target.reset_and_halt()
        bench.target.write32(bench.symbol("address"), end - 4)
        assert bench.run() is Target.State.HALTED
        assert bench.read("fault_record") == [0], hex(end)
        bench.target.reset_and_halt()
        bench.target.write32(bench.symbol("address"), end)
        bench.run()
        assert bench.read("fault_record", 4)[3] == end, hex(end)


def test_write_errors_are_imprecise_and_cannot_be_made_precise(bench, image):
    bench.flash(
        image("""
        int main(void) {
          REG(0xE000E008) = 2;
          REG(0x60000000) = 1;
          __asm volatile("dsb");
          return 0;
        }""")
    )
    bench.run()
    assert bench.read("fault_record", 2)[1] & 0xFF00 == BFSR_IMPRECISE


def test_code_runs_from_each_executable_memory(bench):
    chip = bench.board.chip
    bkpt = struct.pack("<HH", 0x1C40, 0xBE00)
    for ram in chip.rams:
        if not ram.executable:
            continue
        bench.target.write_memory_block8(ram.start + 0x80, bkpt)
        bench.target.write_core_register("pc", ram.start + 0x80)
        assert bench.run() is Target.State.HALTED
        assert bench.target.read_core_register("pc") == ram.start + 0x82


def test_the_same_through_registers_of_the_access_port(new_bench, build_image, board):
    bench = new_bench(board=board, nucleosim__raw_dap=True)
    assert bench.target.selected_core.ap._accelerated_memory_interface is None
    bench.flash(build_image("volatile uint32_t out; int main(void) { out = 99; return 0; }", board))
    assert bench.run() is Target.State.HALTED
    assert bench.read("out") == [99]


def test_access_ports(board):
    port = DebugPort(SimulatedBoard(load_chip(board)))
    idrs = []
    for number in range(4):
        port.write_dp(0x8, number << 24 | 0xF0)
        idrs.append(port.read_ap(0xC))
    expected = {
        "nucleo-f767zi": [0x74770001, 0, 0, 0],
        "nucleo-h743zi": [0x84770001, 0x84770001, 0x54770002, 0],
    }
    assert idrs == expected[board]


def test_debug_unit_identifies_the_chip(bench):
    if bench.board.chip.core.rom_table_part == 0x451:
        assert bench.target.read32(0xE0042000) & 0xFFF == 0x451
        return
    ports = list(bench.target.dp.aps.values())
    assert bench.target.read32(0x5C001000) == ports[2].read32(0xE00E1000) == 0x20036450
    ports[1].write32(0x24000000, 0x1234)  # every port to memory sees the same memory
    assert bench.target.read32(0x24000000) == 0x1234
