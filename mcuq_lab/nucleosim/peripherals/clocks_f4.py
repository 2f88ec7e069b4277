"""Clock and power control of the STM32F4 (RM0402 5 and 6, RM0090 5 and 6)."""

from __future__ import annotations

from collections.abc import Mapping

from mcuq_lab.nucleosim.chip import RegisterBlock
from mcuq_lab.nucleosim.peripherals.clocks import (
    LOWEST_BITS,
    ClockControl,
    ResetCause,
    ahb_shift,
    with_ready_bits,
)
from mcuq_lab.nucleosim.peripherals.storage import Storage

CR = 0x00
PLLCFGR = 0x04
CFGR = 0x08
APB1ENR = 0x40
BDCR = 0x70
CSR = 0x74
PLLI2SCFGR = 0x84
PLLSAICFGR = 0x88

_HSI, _HSE, _PLL = 0, 1, 2
_HSI_HZ = 16_000_000
_HSE_HZ = 8_000_000  # from the ST-LINK's clock output on a Nucleo
_PWREN = 1 << 28

# (enable bit, ready bit) in CR
_HSI_BITS = (1 << 0, 1 << 1)
_HSE_BITS = (1 << 16, 1 << 17)
_PLL_BITS = (1 << 24, 1 << 25)
_PLLS = ((_PLL_BITS, PLLCFGR), ((1 << 26, 1 << 27), PLLI2SCFGR), ((1 << 28, 1 << 29), PLLSAICFGR))

# PWR_CR and PWR_CSR
_VOS = 3 << 14
_VOSRDY = 1 << 14
_OVER_DRIVE = 1 << 16  # ODEN, ODRDY
_OVER_DRIVE_SWITCH = 1 << 17  # ODSWEN, ODSWRDY


class ClockControlF4(ClockControl):
    """RCC: oscillators, PLLs, and the switch between them.

    Limits of the chip: `max_hclk_hz_by_wait_states`, `max_hclk_hz_by_vos` (PWR_CR.VOS), and, if it
    has over-drive, `max_hclk_hz_by_vos_over_drive`.
    """

    _flags_register = CSR
    _flags_mask = 0xFE000000
    _flags_clear = 1 << 24  # RMVF
    _flags_of = {  # noqa: RUF012
        ResetCause.POWER_ON: 0x0E000000,  # PORRSTF, PINRSTF, BORRSTF
        ResetCause.BROWN_OUT: 0x06000000,  # PINRSTF, BORRSTF
        ResetCause.SOFTWARE: 0x14000000,  # SFTRSTF, PINRSTF
        ResetCause.PIN: 0x04000000,  # PINRSTF
    }

    @property
    def power_clocked(self) -> bool:
        """Whether PWR takes writes (APB1ENR.PWREN)."""
        return bool(self.read_word(APB1ENR) & _PWREN)

    @property
    def pll_on(self) -> bool:
        """Whether the main PLL is switched on."""
        return bool(self.read_word(CR) & _PLL_BITS[0])

    @property
    def runs_from_pll(self) -> bool:
        """Whether the main PLL drives the system clock."""
        return self._source == _PLL

    @property
    def sysclk_hz(self) -> int:
        """Frequency of the system clock as it is set."""
        return (_HSI_HZ, _HSE_HZ, self._pll_hz(), 0)[self._source]

    @property
    def hclk_hz(self) -> int:
        """Frequency of the core: the system clock through the AHB prescaler."""
        return self.sysclk_hz >> ahb_shift(self.read_word(CFGR) >> 4 & 0xF)

    def works(self, wait_states: int) -> bool:
        """Whether voltage and flash wait states allow the core clock that is set."""
        power = self._siblings["pwr"]
        over_drive = "_over_drive" if power.is_over_driven else ""
        return self.hclk_hz <= min(
            self._limit_hz("max_hclk_hz_by_wait_states", wait_states),
            self._limit_hz(f"max_hclk_hz_by_vos{over_drive}", power.voltage_scale),
        )

    def write_word(self, offset: int, value: int) -> None:
        """Write one register; bits that follow from others change with it."""
        if offset == CR:
            self._write_cr(value)
        elif offset == CFGR:
            switch = value & 3
            status = switch if self._can_drive(switch) else self._source
            self._words[CFGR] = value & ~0xC | status << 2
        elif offset == PLLCFGR and self.pll_on:
            return  # can be written only while the PLL is off
        elif offset == CSR:
            self._write_flags_register(with_ready_bits(value, LOWEST_BITS))
        elif offset == BDCR:
            self._words[BDCR] = with_ready_bits(value, LOWEST_BITS)
        else:
            super().write_word(offset, value)

    def _write_cr(self, value: int) -> None:
        if self._source == _HSI or (self.runs_from_pll and not self._pll_uses_hse):
            value |= _HSI_BITS[0]
        if self.runs_from_pll:
            value |= _PLL_BITS[0]
        value = with_ready_bits(value, _HSI_BITS, _HSE_BITS)
        for (enable, flag), register in _PLLS:
            locks = value & enable and self._pll_locks(value, register)
            value = value | flag if locks else value & ~flag
        self._words[CR] = value

    @property
    def _source(self) -> int:
        return self.read_word(CFGR) >> 2 & 3

    def _can_drive(self, source: int) -> bool:
        cr = self.read_word(CR)
        flags = (_HSI_BITS[1], _HSE_BITS[1], _PLL_BITS[1], 0)
        return bool(cr & flags[source])

    @property
    def _pll_uses_hse(self) -> bool:
        return bool(self.read_word(PLLCFGR) & 1 << 22)

    def _pll_locks(self, cr: int, register: int) -> bool:
        """Whether source, divider and VCO of a PLL are within the limits of RCC_PLLCFGR.

        A PLL that has no divider of its own has that of the main one.
        """
        source = _HSE_BITS[1] if self._pll_uses_hse else _HSI_BITS[1]
        m = self.read_word(register) & 0x3F or self.read_word(PLLCFGR) & 0x3F
        n = self.read_word(register) >> 6 & 0x1FF
        if not cr & source or m < 2 or not 50 <= n <= 432:
            return False
        vco_input_hz = (_HSE_HZ if self._pll_uses_hse else _HSI_HZ) / m
        return 0.95e6 <= vco_input_hz <= 2.1e6 and 100e6 <= vco_input_hz * n <= 432e6

    def _pll_hz(self) -> int:
        config = self.read_word(PLLCFGR)
        m, n, p = config & 0x3F, config >> 6 & 0x1FF, 2 * ((config >> 16 & 3) + 1)
        source_hz = _HSE_HZ if self._pll_uses_hse else _HSI_HZ
        return source_hz * n // (max(m, 1) * p)


class PowerControlF4(Storage):
    """PWR: voltage scale and over-drive. It takes writes only while the block is clocked."""

    def __init__(
        self,
        block: RegisterBlock,
        limits: Mapping[str, tuple[int, ...]],
        siblings: Mapping[str, Storage],
    ) -> None:
        self._has_over_drive = "max_hclk_hz_by_vos_over_drive" in limits
        self._siblings = siblings
        super().__init__(block)

    @property
    def voltage_scale(self) -> int:
        """CR.VOS: 1 is the lowest voltage, 3 the highest."""
        return super().read_word(0) >> 14 & 3

    @property
    def is_over_driven(self) -> bool:
        """Whether over-drive is on and the core switched to it."""
        return bool(self.read_word(4) & _OVER_DRIVE_SWITCH)

    def read_word(self, offset: int) -> int:
        """Value of one register; CSR.VOSRDY is always set, the others follow their enable bits."""
        value = super().read_word(offset)
        if offset != 4:
            return value
        ready = _VOSRDY
        control = super().read_word(0)
        if self._has_over_drive and control & _OVER_DRIVE:
            ready |= _OVER_DRIVE | control & _OVER_DRIVE_SWITCH
        return value & ~(_OVER_DRIVE | _OVER_DRIVE_SWITCH) | ready

    def write_word(self, offset: int, value: int) -> None:
        """Write one register, unless the block has no clock.

        VOS can be changed only while the PLL is off, ODEN only while it does not drive the system.
        """
        clocks = self._siblings["rcc"]
        if not clocks.power_clocked:
            return
        if offset == 0:
            kept = (_VOS if clocks.pll_on else 0) | (_OVER_DRIVE if clocks.runs_from_pll else 0)
            value = value & ~kept | super().read_word(0) & kept
        super().write_word(offset, value)
