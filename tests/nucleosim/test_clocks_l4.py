"""Clocks of the STM32L4: MSI ranges, PLL, voltage ranges, and what they allow together."""

import pytest
from pyocd.core.target import Target

from mcuq_lab.nucleosim import Faults

RCC, PWR, FLASH = 0x40021000, 0x40007000, 0x40022000
CR, CFGR, PLLCFGR, PLLSAI1CFGR, APB1ENR1, CSR = (
    RCC + offset for offset in (0, 8, 0xC, 0x10, 0x58, 0x94)
)
MSIRDY, MSIRGSEL, HSION, HSIRDY, HSEON, HSERDY = 1 << 1, 1 << 3, 1 << 8, 1 << 10, 1 << 16, 1 << 17
PLLON, PLLRDY, PLLSAI1ON, PLLSAI1RDY = 1 << 24, 1 << 25, 1 << 26, 1 << 27
FROM_MSI, FROM_HSI, FROM_HSE = 1, 2, 3
RANGE_1, RANGE_2 = 1 << 9, 2 << 9
SPIN = "volatile uint32_t out; int main(void) { out = 5; return 0; }"


@pytest.fixture
def bench(new_bench):
    return new_bench(board="nucleo-l432kc")


@pytest.fixture
def target(bench):
    return bench.target


def pll(source, m, n, r, output=True):
    return source | (m - 1) << 4 | n << 8 | output << 24 | (r // 2 - 1) << 25


def set_bits(target, address, bits):
    target.write32(address, target.read32(address) | bits)


def start_pll(target, config):
    target.write32(PLLCFGR, config)
    set_bits(target, CR, PLLON)
    return bool(target.read32(CR) & PLLRDY)


def test_reset_runs_from_msi_at_4_mhz(target):
    assert target.read32(CR) == 0x63
    assert target.read32(CFGR) == 0
    assert target.read32(PWR) == RANGE_1
    assert target.read32(FLASH) == 0x600


def test_full_speed_from_msi(target):
    target.write32(FLASH, 0x704)
    assert start_pll(target, pll(FROM_MSI, 1, 40, 2))
    target.write32(CFGR, 3)
    assert target.read32(CFGR) & 0xC == 0xC


def test_full_speed_from_hsi16(target):
    config = pll(FROM_HSI, 2, 20, 2)
    assert not start_pll(target, config)  # HSI16 is off
    target.write32(CR, target.read32(CR) & ~PLLON | HSION)
    assert target.read32(CR) & HSIRDY
    assert start_pll(target, config)


@pytest.mark.parametrize(
    "config",
    [
        pll(0, 1, 40, 2),
        pll(FROM_HSE, 1, 20, 2),
        pll(FROM_MSI, 2, 40, 2),
        pll(FROM_MSI, 1, 7, 2),
        pll(FROM_MSI, 1, 15, 2),
        pll(FROM_MSI, 1, 87, 2),
    ],
    ids=[
        "no source",
        "HSE is off",
        "VCO input too slow",
        "N too small",
        "VCO too slow",
        "VCO too fast",
    ],
)
def test_wrong_pll_never_locks(target, config):
    assert not start_pll(target, config)
    target.write32(CFGR, 3)
    assert target.read32(CFGR) & 0xC == 0


def test_pll_does_not_drive_the_system_without_its_output(target):
    assert start_pll(target, pll(FROM_MSI, 1, 16, 8, output=False))
    target.write32(CFGR, 3)
    assert target.read32(CFGR) & 0xC == 0
    target.write32(PLLCFGR, pll(FROM_MSI, 1, 40, 2))  # of this, only the output while it is on
    assert target.read32(PLLCFGR) == pll(FROM_MSI, 1, 16, 8)
    target.write32(CFGR, 3)
    assert target.read32(CFGR) & 0xC == 0xC


def test_second_pll_locks_by_its_own_factor(target):
    target.write32(PLLCFGR, FROM_MSI)
    set_bits(target, CR, PLLSAI1ON)
    assert target.read32(CR) & PLLSAI1RDY
    target.write32(CR, target.read32(CR) & ~PLLSAI1ON)
    target.write32(PLLSAI1CFGR, 10 << 8)
    set_bits(target, CR, PLLSAI1ON)
    assert not target.read32(CR) & PLLSAI1RDY


def test_nothing_drives_hse_on_the_nucleo(target):
    set_bits(target, CR, HSEON)
    assert not target.read32(CR) & HSERDY


def test_clock_in_use_stays_on(target):
    target.write32(CR, 0x60)
    assert target.read32(CR) & 3 == 3


def test_ranges_that_msi_does_not_have_are_refused(target):
    target.write32(CR, 0xC0 | MSIRGSEL | 1)
    assert target.read32(CR) >> 4 & 0xF == 6
    target.write32(CR, 0xB0 | 1)
    assert target.read32(CR) == 0xB0 | MSIRGSEL | MSIRDY | 1  # MSIRGSEL stays until reset


def test_range_after_standby_is_refused_until_msi_has_one_of_its_own(target):
    before = target.read32(CSR) & 0xF00
    for value, taken in ((0x500, before), (0xF00, before)):
        target.write32(CSR, value)
        assert target.read32(CSR) & 0xF00 == taken
    set_bits(target, CR, MSIRGSEL)
    for value, taken in ((0x500, 0x500), (0xF00, 0x500), (0x700, 0x700)):
        target.write32(CSR, value)
        assert target.read32(CSR) & 0xF00 == taken


def test_power_control_needs_its_clock_and_a_valid_range(target):
    target.write32(PWR, RANGE_2)
    assert target.read32(PWR) == RANGE_1
    set_bits(target, APB1ENR1, 1 << 28)
    target.write32(PWR, 0)
    assert target.read32(PWR) == RANGE_1
    target.write32(PWR, RANGE_2)
    assert target.read32(PWR) == RANGE_2


@pytest.mark.parametrize(
    ("voltage", "msi_range", "latency", "works"),
    [
        (RANGE_1, 8, 0, True),
        (RANGE_1, 9, 0, False),
        (RANGE_1, 11, 2, True),
        (RANGE_2, 6, 0, True),
        (RANGE_2, 7, 0, False),
        (RANGE_2, 9, 3, True),
        (RANGE_2, 10, 3, False),
    ],
)
def test_msi_needs_voltage_and_wait_states(bench, build_image, voltage, msi_range, latency, works):
    bench.flash(build_image(SPIN, "nucleo-l432kc"))
    target = bench.target
    set_bits(target, APB1ENR1, 1 << 28)
    target.write32(FLASH, latency)
    target.write32(PWR, voltage)
    target.write32(CR, msi_range << 4 | MSIRGSEL | 1)
    assert (bench.run(polls=5) is Target.State.HALTED) is works
    target.reset_and_halt()
    assert bench.run(polls=5) is Target.State.HALTED


@pytest.mark.parametrize(
    ("n", "r", "latency", "prescaler", "works"),
    [(40, 2, 4, 0, True), (40, 2, 3, 0, False), (42, 2, 4, 0, False), (40, 2, 2, 8, True)],
)
def test_pll_needs_wait_states(bench, build_image, n, r, latency, prescaler, works):
    bench.flash(build_image(SPIN, "nucleo-l432kc"))
    bench.target.write32(FLASH, latency)
    assert start_pll(bench.target, pll(FROM_MSI, 1, n, r))
    bench.target.write32(CFGR, prescaler << 4 | 3)
    assert (bench.run(polls=5) is Target.State.HALTED) is works


def test_low_voltage_narrows_the_vco(target):
    set_bits(target, APB1ENR1, 1 << 28)
    target.write32(PWR, RANGE_2)
    assert not start_pll(target, pll(FROM_MSI, 1, 40, 8))
    target.write32(CR, target.read32(CR) & ~PLLON)
    assert start_pll(target, pll(FROM_MSI, 1, 26, 4))


def test_reset_flags(bench):
    target = bench.target
    target.write32(CSR, 1 << 23)
    assert target.read32(CSR) == 0x600  # MSISRANGE, which is not writable yet
    target.reset_and_halt()
    assert target.read32(CSR) == 0x14000600  # SFTRSTF, PINRSTF
    target.write32(CSR, 1 << 23)
    bench.board.reset_by_pin()
    assert target.read32(CSR) == 0x04000600
    target.write32(CSR, 1 << 23 | 1)
    assert target.read32(CSR) == 0x603  # LSION, LSIRDY


def test_brown_out_shows(bench, build_image):
    bench.flash(build_image("int main(void) { for (;;) { } }", "nucleo-l432kc"))
    bench.target.write32(CSR, 1 << 23)
    bench.board.inject(Faults(brown_out_at_cycle=100))
    bench.run(polls=2)
    assert bench.target.read32(CSR) & 0xFF000000 == 0x0C000000
