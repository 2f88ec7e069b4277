"""Clocks and power of the STM32H7: a right set-up goes through, a wrong one waits for ever."""

import pytest
from pyocd.core.target import Target

RCC, PWR, SYSCFG, FLASH = 0x58024400, 0x58024800, 0x58000400, 0x52002000
CR, CFGR, D1CFGR, PLLCKSELR, PLLCFGR, PLL1DIVR = (
    RCC + offset for offset in (0x00, 0x10, 0x18, 0x28, 0x2C, 0x30)
)
RSR, APB4ENR = RCC + 0xD0, RCC + 0xF4
CSR1, CR3, D3CR, PWRCR = PWR + 0x04, PWR + 0x0C, PWR + 0x18, SYSCFG + 0x2C
HSEON, HSERDY, PLL1ON, PLL1RDY = 1 << 16, 1 << 17, 1 << 24, 1 << 25
LDOEN, VOSRDY, ODEN, SYSCFGEN = 1 << 1, 1 << 13, 1 << 0, 1 << 1
HSI, CSI, HSE = 0, 1, 2
SPIN = "volatile uint32_t out; int main(void) { out = 5; return 0; }"


@pytest.fixture
def bench(new_bench):
    return new_bench(board="nucleo-h743zi")


def set_bits(target, address, bits):
    target.write32(address, target.read32(address) | bits)


def set_pll(target, m=8, n=120, p=2, input_range=3, medium=False, source=HSI, divide_p=True):
    target.write32(PLLCKSELR, m << 4 | source)
    target.write32(PLLCFGR, divide_p << 16 | input_range << 2 | medium << 1)
    target.write32(PLL1DIVR, (p - 1) << 9 | (n - 1))
    set_bits(target, CR, PLL1ON)
    return bool(target.read32(CR) & PLL1RDY)


def select_pll(target):
    target.write32(CFGR, 3)
    return target.read32(CFGR) >> 3 & 7 == 3


def set_voltage(target, vos, over_drive=False):
    target.write32(CR3, LDOEN)
    target.write32(D3CR, vos << 14)
    if over_drive:
        set_bits(target, APB4ENR, SYSCFGEN)
        target.write32(PWRCR, ODEN)


def test_reset_runs_from_hsi(bench):
    assert bench.target.read32(CR) & 0xC1A5 == 0xC185  # HSI and CSI ready, both domains too
    assert bench.target.read32(CFGR) == 0
    assert bench.target.read32(D3CR) == 1 << 14 | VOSRDY
    assert bench.target.read32(CSR1) == 1 << 14 | VOSRDY


@pytest.mark.parametrize(
    "wrong",
    [
        {"m": 0},
        {"m": 2},
        {"m": 63},
        {"input_range": 2, "m": 4},
        {"n": 3},
        {"n": 20},
        {"n": 130},
        {"medium": True},
        {"p": 3},
        {"source": HSE},
        {"source": 3},
    ],
    ids=[
        "no prescaler",
        "input too fast",
        "input too slow",
        "wrong input range",
        "N too small",
        "VCO too slow",
        "VCO too fast",
        "medium VCO",
        "odd P",
        "HSE is off",
        "no source",
    ],
)
def test_wrong_pll_never_locks(bench, wrong):
    assert not set_pll(bench.target, **wrong)
    assert not select_pll(bench.target)


@pytest.mark.parametrize(
    "right",
    [
        {},
        {"m": 32, "n": 400, "input_range": 1},
        {"m": 32, "n": 200, "input_range": 0, "medium": True},
        {"source": HSE, "m": 1, "n": 100},
        {"source": CSI, "m": 1, "n": 100, "input_range": 2},
        {"p": 1, "n": 25},
    ],
)
def test_right_pll_locks(bench, right):
    set_bits(bench.target, CR, HSEON)
    assert bench.target.read32(CR) & HSERDY
    assert set_pll(bench.target, **right)


def test_pll_without_its_p_output_drives_nothing(bench):
    assert set_pll(bench.target, divide_p=False)
    assert not select_pll(bench.target)


def test_pll_is_set_up_while_it_is_off(bench):
    assert set_pll(bench.target)
    before = bench.target.read32(PLL1DIVR)
    bench.target.write32(PLL1DIVR, 0)
    assert bench.target.read32(PLL1DIVR) == before


def test_voltage_changes_once_the_supply_is_configured(bench):
    target = bench.target
    target.write32(D3CR, 3 << 14)
    assert not target.read32(D3CR) & VOSRDY
    assert target.read32(CSR1) >> 14 == 1
    target.write32(CR3, LDOEN)
    assert target.read32(CR3) == LDOEN
    target.write32(D3CR, 3 << 14)
    assert target.read32(D3CR) == 3 << 14 | VOSRDY
    assert target.read32(CSR1) >> 14 == 3
    target.write32(CR3, 1)  # the first write counts, until power is lost
    assert target.read32(CR3) == LDOEN
    target.reset_and_halt()
    assert target.read32(D3CR) == 1 << 14 | VOSRDY
    assert target.read32(CR3) == LDOEN


def test_over_drive_needs_the_clock_of_its_block(bench):
    bench.target.write32(PWRCR, ODEN)
    assert bench.target.read32(PWRCR) == 0
    set_bits(bench.target, APB4ENR, SYSCFGEN)
    bench.target.write32(PWRCR, ODEN)
    assert bench.target.read32(PWRCR) == ODEN


@pytest.mark.parametrize(
    ("vos", "over_drive", "n", "latency", "halves", "works"),
    [
        (3, True, 120, 4, 8, True),
        (3, True, 120, 3, 8, False),
        (3, False, 120, 4, 8, False),
        (3, True, 120, 4, 0, False),  # AXI at 480 MHz
        (3, False, 100, 2, 8, True),
        (3, False, 100, 1, 8, False),
        (2, False, 75, 2, 8, True),
        (2, False, 100, 4, 8, False),
    ],
)
def test_too_fast_a_clock_hangs(bench, build_image, vos, over_drive, n, latency, halves, works):
    bench.flash(build_image(SPIN, "nucleo-h743zi"))
    target = bench.target
    set_voltage(target, vos, over_drive)
    target.write32(FLASH, 2 << 4 | latency)
    target.write32(D1CFGR, halves)
    assert set_pll(target, n=n)
    assert select_pll(target)
    assert (bench.run(polls=5) is Target.State.HALTED) is works
    target.reset_and_halt()
    assert bench.run(polls=5) is Target.State.HALTED


def test_low_voltage_needs_wait_states_at_the_reset_clock(bench, build_image):
    bench.flash(build_image(SPIN, "nucleo-h743zi"))
    bench.target.write32(FLASH, 0)
    assert bench.run(polls=5) is not Target.State.HALTED


def test_reset_flags(bench):
    assert bench.target.read32(RSR) & 1 << 23  # PORRSTF
    bench.target.write32(RSR, 1 << 16)
    assert bench.target.read32(RSR) == 0
    bench.target.reset_and_halt()
    assert bench.target.read32(RSR) == 0x01420000


def test_clock_in_use_stays_on(bench):
    bench.target.write32(CR, 0)
    assert bench.target.read32(CR) & 5 == 5
    assert set_pll(bench.target)
    assert select_pll(bench.target)
    bench.target.write32(CR, 0)
    assert bench.target.read32(CR) & (PLL1RDY | 5) == PLL1RDY | 5
