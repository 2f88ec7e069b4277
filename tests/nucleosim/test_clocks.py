"""Ready bits of oscillators and PLL: a right set-up goes through, a wrong one waits for ever."""

import pytest
from pyocd.core.target import Target

RCC, PWR, FLASH = 0x40023800, 0x40007000, 0x40023C00
CR, PLLCFGR, CFGR, APB1ENR = RCC, RCC + 4, RCC + 8, RCC + 0x40
PLLON, PLLRDY, HSEON, HSERDY = 1 << 24, 1 << 25, 1 << 16, 1 << 17


def pll(m, n, p, hse=False):
    return m | n << 6 | (p // 2 - 1) << 16 | hse << 22 | 4 << 24 | 2 << 28


def test_reset_runs_from_hsi(bench):
    assert bench.target.read32(CR) & 3 == 3
    assert bench.target.read32(CFGR) & 0xC == 0
    assert bench.target.read32(FLASH) == 0


def test_full_speed_from_hsi(bench):
    target = bench.target
    target.write32(APB1ENR, 1 << 28)
    target.write32(PWR, 0xC000)
    assert target.read32(PWR) == 0xC000
    target.write32(FLASH, 0x703)
    assert target.read32(FLASH) & 0xF == 3
    target.write32(PLLCFGR, pll(8, 100, 2))
    target.write32(CR, target.read32(CR) | PLLON)
    assert target.read32(CR) & PLLRDY
    target.write32(CFGR, 0x1002)
    assert target.read32(CFGR) & 0xC == 0x8


@pytest.mark.parametrize(
    "config",
    [pll(1, 100, 2), pll(8, 40, 2), pll(63, 100, 2), pll(8, 300, 2), pll(8, 100, 2, hse=True)],
    ids=["M too small", "N too small", "VCO input too slow", "VCO too fast", "HSE is off"],
)
def test_wrong_pll_never_locks(bench, config):
    target = bench.target
    target.write32(PLLCFGR, config)
    target.write32(CR, target.read32(CR) | PLLON)
    assert not target.read32(CR) & PLLRDY
    target.write32(CFGR, 2)
    assert target.read32(CFGR) & 0xC == 0


def test_pll_from_the_crystal_input(bench):
    target = bench.target
    target.write32(CR, target.read32(CR) | HSEON)
    assert target.read32(CR) & HSERDY
    target.write32(PLLCFGR, pll(4, 100, 2, hse=True))
    target.write32(CR, target.read32(CR) | PLLON)
    assert target.read32(CR) & PLLRDY


def test_power_control_needs_its_clock(bench):
    bench.target.write32(PWR, 0xC000)
    assert bench.target.read32(PWR) == 0x8000


def test_clock_in_use_stays_on(bench):
    bench.target.write32(CR, bench.target.read32(CR) & ~1)
    assert bench.target.read32(CR) & 3 == 3


def test_reset_undoes_it(bench):
    bench.target.write32(CR, bench.target.read32(CR) | HSEON)
    bench.target.reset_and_halt()
    assert not bench.target.read32(CR) & HSERDY


SPIN = "volatile uint32_t out; int main(void) { out = 5; return 0; }"


@pytest.mark.parametrize(
    ("voltage", "latency", "works"), [(0xC000, 3, True), (0xC000, 2, False), (0x8000, 3, False)]
)
def test_too_fast_a_clock_hangs(bench, build_image, voltage, latency, works):
    bench.flash(build_image(SPIN))
    target = bench.target
    target.write32(APB1ENR, 1 << 28)
    target.write32(PWR, voltage)
    target.write32(FLASH, latency)
    target.write32(PLLCFGR, pll(8, 100, 2))
    target.write32(CR, target.read32(CR) | PLLON)
    target.write32(CFGR, 0x1002)
    assert (bench.run(polls=5) is Target.State.HALTED) is works
    target.reset_and_halt()
    assert bench.run(polls=5) is Target.State.HALTED
