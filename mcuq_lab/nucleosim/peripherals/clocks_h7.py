"""Clock control of the STM32H742, H743 and H753 (RM0433 chapter 8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from mcuq_lab.nucleosim.peripherals.clocks import (
    LOWEST_BITS,
    ClockControl,
    ResetCause,
    ahb_shift,
    with_ready_bits,
)

CR = 0x00
CFGR = 0x10
D1CFGR = 0x18
PLLCKSELR = 0x28
PLLCFGR = 0x2C
PLL1DIVR = 0x30
BDCR = 0x70
CSR = 0x74
RSR = 0xD0
APB4ENR = 0xF4

_SYSCFGEN = 1 << 1

_HSI, _CSI, _HSE, _PLL1 = 0, 1, 2, 3
_HSI_HZ = 64_000_000
_CSI_HZ = 4_000_000
_HSE_HZ = 8_000_000  # from the ST-LINK's clock output on a Nucleo

# (enable bit, ready bit) in CR
_OSCILLATORS = {
    _HSI: (1 << 0, 1 << 2),
    _CSI: (1 << 7, 1 << 8),
    _HSE: (1 << 16, 1 << 17),
}
_HSI48_BITS = (1 << 12, 1 << 13)
_PLL_BITS = tuple((1 << 24 + 2 * index, 1 << 25 + 2 * index) for index in range(3))
_DOMAINS_READY = 3 << 14  # D1CKRDY, D2CKRDY
_HSIDIV = 3 << 3

_DIVP1EN = 1 << 16
_PLL_REGISTERS = (PLLCKSELR, PLLCFGR, PLL1DIVR)

# Input of a PLL by PLLxRGE, and its oscillator by PLLxVCOSEL (RM0433 8; DS12110, revision V).
_INPUT_HZ = ((1e6, 2e6), (2e6, 4e6), (4e6, 8e6), (8e6, 16e6))
_WIDE_VCO_HZ = (192e6, 960e6)
_MEDIUM_VCO_HZ = (150e6, 420e6)


class ClockControlH7(ClockControl):
    """RCC.

    Limits of the chip, by voltage scale 0 to 3: `max_core_hz_by_vos`, `max_axi_hz_by_vos`, and
    `max_axi_hz_by_wait_states_vos0` to `..._vos3`.
    """

    _flags_register = RSR
    _flags_mask = 0xFFFE0000
    _flags_clear = 1 << 16  # RMVF
    _flags_of: ClassVar[Mapping[ResetCause, int]] = {
        ResetCause.POWER_ON: 0x00FA0000,  # all but those of software, watchdogs and standby
        ResetCause.BROWN_OUT: 0x00620000,  # PINRSTF, BORRSTF, CPURSTF
        ResetCause.SOFTWARE: 0x01420000,  # SFTRSTF, PINRSTF, CPURSTF
        ResetCause.PIN: 0x00420000,  # PINRSTF, CPURSTF
    }

    def note_reset(self, cause: ResetCause) -> None:
        """Show why the chip was reset; a loss of power opens the supply configuration again."""
        super().note_reset(cause)
        if cause in (ResetCause.POWER_ON, ResetCause.BROWN_OUT):
            self._siblings["pwr"].power_on()

    @property
    def syscfg_clocked(self) -> bool:
        """Whether SYSCFG takes writes (APB4ENR.SYSCFGEN)."""
        return bool(self.read_word(APB4ENR) & _SYSCFGEN)

    @property
    def hclk_hz(self) -> int:
        """Frequency of the core: the system clock through D1CPRE."""
        return self._sysclk_hz >> ahb_shift(self.read_word(D1CFGR) >> 8 & 0xF)

    @property
    def axi_hz(self) -> int:
        """Frequency of the AXI bus, and with it of the flash: the core's through HPRE."""
        return self.hclk_hz >> ahb_shift(self.read_word(D1CFGR) & 0xF)

    @property
    def cycles_per_bus_cycle(self) -> int:
        """HPRE as a factor."""
        return 1 << ahb_shift(self.read_word(D1CFGR) & 0xF)

    def works(self, wait_states: int) -> bool:
        """Whether voltage and flash wait states allow the clocks of core and bus that are set."""
        scale = self._siblings["pwr"].voltage_scale
        axi_limit_hz = min(
            self._limit_hz(f"max_axi_hz_by_wait_states_vos{scale}", wait_states),
            self._limit_hz("max_axi_hz_by_vos", scale),
        )
        core_limit_hz = self._limit_hz("max_core_hz_by_vos", scale)
        return self.hclk_hz <= core_limit_hz and self.axi_hz <= axi_limit_hz

    def read_word(self, offset: int) -> int:
        """Value of one register; the clocks of the domains are always ready."""
        value = super().read_word(offset)
        return value | _DOMAINS_READY if offset == CR else value

    def reset(self) -> None:
        """Reset values; HSI and CSI are ready when software can look."""
        super().reset()
        self._write_cr(super().read_word(CR))

    def write_word(self, offset: int, value: int) -> None:
        """Write one register; bits that follow from others change with it."""
        if offset == CR:
            self._write_cr(value)
        elif offset == CFGR:
            switch = value & 7
            status = switch if self._can_drive(switch) else self._source
            self._words[CFGR] = value & ~0x38 | status << 3
        elif offset in _PLL_REGISTERS and self.read_word(CR) & _PLL_BITS[0][0]:
            return  # can be written only while the PLL is off
        elif offset == RSR:
            self._write_flags_register(value)
        elif offset in (CSR, BDCR):
            self._words[offset] = with_ready_bits(value, LOWEST_BITS)
        else:
            super().write_word(offset, value)

    def _write_cr(self, value: int) -> None:
        in_use = self._pll_source if self._source == _PLL1 else self._source
        if in_use in _OSCILLATORS:
            value |= _OSCILLATORS[in_use][0]
        if self._source == _PLL1:
            value |= _PLL_BITS[0][0]
        if super().read_word(CR) & _PLL_BITS[0][1] and self._pll_source == _HSI:
            value = value & ~_HSIDIV | super().read_word(CR) & _HSIDIV
        value = with_ready_bits(value, *_OSCILLATORS.values(), _HSI48_BITS)
        for index, (enable, flag) in enumerate(_PLL_BITS):
            locks = value & enable and self._pll_locks(value, index)
            value = value | flag if locks else value & ~flag
        self._words[CR] = value

    @property
    def _source(self) -> int:
        return self.read_word(CFGR) >> 3 & 7

    def _can_drive(self, source: int) -> bool:
        cr = self.read_word(CR)
        if source == _PLL1:
            return bool(cr & _PLL_BITS[0][1] and self.read_word(PLLCFGR) & _DIVP1EN)
        return source in _OSCILLATORS and bool(cr & _OSCILLATORS[source][1])

    @property
    def _sysclk_hz(self) -> int:
        if self._source == _PLL1:
            return self._pll1_p_hz
        return self._oscillator_hz(self._source, self.read_word(CR))

    @property
    def _pll_source(self) -> int:
        return self.read_word(PLLCKSELR) & 3

    def _pll_locks(self, cr: int, index: int) -> bool:
        """Whether source, divider, ranges and oscillator of PLL 1 to 3 fit together."""
        source = self._pll_source
        m = self.read_word(PLLCKSELR) >> 4 + 8 * index & 0x3F
        if source not in _OSCILLATORS or not cr & _OSCILLATORS[source][1] or m == 0:
            return False
        config = self.read_word(PLLCFGR) >> 4 * index
        dividers = self.read_word(PLL1DIVR + 8 * index)
        n, p = (dividers & 0x1FF) + 1, (dividers >> 9 & 0x7F) + 1
        input_hz = self._oscillator_hz(source, cr) / m
        lowest_hz, highest_hz = _INPUT_HZ[config >> 2 & 3]
        medium = bool(config >> 1 & 1)
        lowest_vco_hz, highest_vco_hz = _MEDIUM_VCO_HZ if medium else _WIDE_VCO_HZ
        return (
            lowest_hz <= input_hz <= highest_hz
            and (input_hz <= 2e6 if medium else input_hz >= 2e6)
            and n >= 4
            and lowest_vco_hz <= input_hz * n <= highest_vco_hz
            and (index > 0 or p == 1 or p % 2 == 0)
        )

    @property
    def _pll1_p_hz(self) -> int:
        m = self.read_word(PLLCKSELR) >> 4 & 0x3F
        dividers = self.read_word(PLL1DIVR)
        n, p = (dividers & 0x1FF) + 1, (dividers >> 9 & 0x7F) + 1
        return self._oscillator_hz(self._pll_source, self.read_word(CR)) * n // (max(m, 1) * p)

    def _oscillator_hz(self, source: int, cr: int) -> int:
        if source == _HSI:
            return _HSI_HZ >> (cr & _HSIDIV) // (_HSIDIV & -_HSIDIV)
        return {_CSI: _CSI_HZ, _HSE: _HSE_HZ}.get(source, 0)
