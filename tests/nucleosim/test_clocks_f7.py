"""Clocks and power of the STM32F7: those of the F4 with over-drive, and limits of its own."""

import pytest
from pyocd.core.target import Target

RCC, PWR, FLASH = 0x40023800, 0x40007000, 0x40023C00
CR, PLLCFGR, CFGR, APB1ENR = RCC, RCC + 4, RCC + 8, RCC + 0x40
CR1, CSR1 = PWR, PWR + 4
PLLON, PLLRDY, ODEN, ODSWEN = 1 << 24, 1 << 25, 1 << 16, 1 << 17
SPIN = "volatile uint32_t out; int main(void) { out = 5; return 0; }"


@pytest.fixture
def bench(new_bench):
    return new_bench(board="nucleo-f767zi")


def set_clock(target, n, latency, vos=3, over_drive=True):
    target.write32(APB1ENR, 1 << 28)
    target.write32(CR1, vos << 14)
    target.write32(PLLCFGR, 8 | n << 6 | 9 << 24 | 2 << 28)
    target.write32(CR, target.read32(CR) | PLLON)
    assert target.read32(CR) & PLLRDY
    if over_drive:
        target.write32(CR1, vos << 14 | ODEN)
        assert target.read32(CSR1) & ODEN
        target.write32(CR1, vos << 14 | ODEN | ODSWEN)
        assert target.read32(CSR1) & ODSWEN
    target.write32(FLASH, latency)
    target.write32(CFGR, 2)
    assert target.read32(CFGR) & 0xC == 8


@pytest.mark.parametrize(
    ("n", "latency", "vos", "over_drive", "works"),
    [
        (216, 7, 3, True, True),
        (216, 6, 3, True, False),
        (216, 7, 3, False, False),
        (180, 5, 3, False, True),
        (180, 5, 2, True, True),
        (180, 5, 2, False, False),
        (168, 5, 2, False, True),
        (144, 4, 1, False, True),
        (168, 5, 1, False, False),
    ],
)
def test_too_fast_a_clock_hangs(bench, build_image, n, latency, vos, over_drive, works):
    bench.flash(build_image(SPIN, "nucleo-f767zi"))
    set_clock(bench.target, n, latency, vos, over_drive)
    assert (bench.run(polls=5) is Target.State.HALTED) is works
    bench.target.reset_and_halt()
    assert bench.run(polls=5) is Target.State.HALTED


@pytest.mark.parametrize(("m", "n"), [(1, 216), (63, 216), (8, 40), (8, 250)])
def test_wrong_pll_never_locks(bench, m, n):
    bench.target.write32(PLLCFGR, m | n << 6 | 9 << 24 | 2 << 28)
    bench.target.write32(CR, bench.target.read32(CR) | PLLON)
    assert not bench.target.read32(CR) & PLLRDY


def test_power_control_needs_its_clock(bench):
    bench.target.write32(CR1, 1 << 14)
    assert bench.target.read32(CR1) == 3 << 14
