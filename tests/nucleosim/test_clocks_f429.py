"""The STM32F429's way to 180 MHz: over-drive, its order and its limits; further PLLs."""

import pytest
from pyocd.core.target import Target

RCC, PWR, PWR_CSR, FLASH = 0x40023800, 0x40007000, 0x40007004, 0x40023C00
CR, PLLCFGR, CFGR, APB1ENR, PLLI2SCFGR, PLLSAICFGR = (
    RCC + offset for offset in (0, 4, 8, 0x40, 0x84, 0x88)
)
PLLON, PLLRDY = 1 << 24, 1 << 25
ODEN, ODSWEN, ODRDY, ODSWRDY = 1 << 16, 1 << 17, 1 << 16, 1 << 17
SCALE_1, SCALE_2, SCALE_3 = 3 << 14, 2 << 14, 1 << 14
SPIN = "volatile uint32_t out; int main(void) { out = 5; return 0; }"


@pytest.fixture
def target(new_bench):
    target = new_bench(board="nucleo-f429zi").target
    target.write32(APB1ENR, 1 << 28)
    return target


def pll(m, n, p):
    return m | n << 6 | (p // 2 - 1) << 16 | 8 << 24


def set_bits(target, address, bits):
    target.write32(address, target.read32(address) | bits)


def test_reset_state(target):
    assert target.read32(PWR) == SCALE_1
    assert target.read32(PWR_CSR) == 1 << 14  # VOSRDY
    assert target.read32(PLLCFGR) == 0x24003010
    assert target.read32(RCC + 0x30) == 0x00100000


def test_over_drive_in_its_order(target):
    set_bits(target, PWR, ODSWEN)
    assert not target.read32(PWR_CSR) & (ODRDY | ODSWRDY)  # nothing to switch to
    set_bits(target, PWR, ODEN)
    assert target.read32(PWR_CSR) & (ODRDY | ODSWRDY) == ODRDY | ODSWRDY
    target.write32(PWR, SCALE_1)
    assert not target.read32(PWR_CSR) & (ODRDY | ODSWRDY)


def test_voltage_scale_is_fixed_while_the_pll_is_on(target):
    set_bits(target, CR, PLLON)
    target.write32(PWR, SCALE_2)
    assert target.read32(PWR) == SCALE_1
    target.write32(CR, target.read32(CR) & ~PLLON)
    target.write32(PWR, SCALE_2)
    assert target.read32(PWR) == SCALE_2


def test_over_drive_is_fixed_while_the_pll_drives_the_system(target):
    target.write32(FLASH, 5)
    target.write32(PLLCFGR, pll(8, 100, 2))
    set_bits(target, CR, PLLON)
    target.write32(CFGR, 0x9402)
    assert target.read32(CFGR) & 0xC == 8
    set_bits(target, PWR, ODEN)
    assert not target.read32(PWR_CSR) & ODRDY


def test_the_f412_has_no_over_drive(bench):
    bench.target.write32(APB1ENR, 1 << 28)
    set_bits(bench.target, PWR, ODEN | ODSWEN)
    assert not bench.target.read32(PWR_CSR) & (ODRDY | ODSWRDY)


@pytest.mark.parametrize(
    ("mhz", "scale", "over_drive", "latency", "works"),
    [
        (180, SCALE_1, True, 5, True),
        (180, SCALE_1, False, 5, False),
        (180, SCALE_1, True, 4, False),
        (180, SCALE_2, True, 5, False),
        (168, SCALE_1, False, 5, True),
        (168, SCALE_2, True, 5, True),
        (168, SCALE_2, False, 5, False),
        (120, SCALE_3, False, 3, True),
        (122, SCALE_3, False, 4, False),
    ],
)
def test_clock_needs_voltage_and_wait_states(
    new_bench, build_image, mhz, scale, over_drive, latency, works
):
    bench = new_bench(board="nucleo-f429zi")
    bench.flash(build_image(SPIN, "nucleo-f429zi"))
    target = bench.target
    target.write32(APB1ENR, 1 << 28)
    target.write32(PWR, scale | (ODEN | ODSWEN if over_drive else 0))
    target.write32(FLASH, latency)
    target.write32(PLLCFGR, pll(8, mhz, 2))
    set_bits(target, CR, PLLON)
    target.write32(CFGR, 0x9402)
    assert target.read32(CFGR) & 0xC == 8
    assert (bench.run(polls=5) is Target.State.HALTED) is works
    target.reset_and_halt()
    assert bench.run(polls=5) is Target.State.HALTED


@pytest.mark.parametrize(("enable", "config"), [(1 << 26, PLLI2SCFGR), (1 << 28, PLLSAICFGR)])
def test_further_plls_lock_by_their_own_factors(target, enable, config):
    ready = enable << 1
    set_bits(target, CR, enable)
    assert target.read32(CR) & ready  # N 192 after reset, with the main PLL's M of 16
    target.write32(CR, target.read32(CR) & ~enable)
    assert not target.read32(CR) & ready
    target.write32(config, 40 << 6)
    set_bits(target, CR, enable)
    assert not target.read32(CR) & ready
