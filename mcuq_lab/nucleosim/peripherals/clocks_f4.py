"""Clock and power control of the STM32F4 (RM0402 5 and 6): the bits that software waits for.

A ready bit comes at once when its clock can run, and never when it cannot, so that a wrong clock
set-up waits for ever as it does on silicon. Clock frequencies do not change the cycle counts.
"""

from __future__ import annotations

from collections.abc import Mapping

from mcuq_lab.nucleosim.chip import RegisterBlock
from mcuq_lab.nucleosim.peripherals.clocks import ClockControl, ResetCause
from mcuq_lab.nucleosim.peripherals.storage import Storage

CR = 0x00
PLLCFGR = 0x04
CFGR = 0x08
APB1ENR = 0x40
BDCR = 0x70
CSR = 0x74

_HSI, _HSE, _PLL = 0, 1, 2
_HSI_HZ = 16_000_000
_HSE_HZ = 8_000_000  # from the ST-LINK's clock output on a Nucleo
_PWREN = 1 << 28

# (enable bit, ready bit) in CR
_HSI_BITS = (1 << 0, 1 << 1)
_HSE_BITS = (1 << 16, 1 << 17)
_PLL_BITS = (1 << 24, 1 << 25)
_PLLI2S_BITS = (1 << 26, 1 << 27)

_RESET_FLAGS = 0xFE000000
_RMVF = 1 << 24
_CAUSES = {
    ResetCause.POWER_ON: 0x0E000000,  # PORRSTF, PINRSTF, BORRSTF
    ResetCause.BROWN_OUT: 0x06000000,  # PINRSTF, BORRSTF
    ResetCause.SOFTWARE: 0x14000000,  # SFTRSTF, PINRSTF
    ResetCause.PIN: 0x04000000,  # PINRSTF
}


class ClockControlF4(ClockControl):
    """RCC: oscillators, the main PLL, and the switch between them.

    Limits of the chip: `max_hclk_hz_by_wait_states`, `max_hclk_hz_by_vos` (PWR_CR.VOS).
    """

    def __init__(
        self,
        block: RegisterBlock,
        limits: Mapping[str, tuple[int, ...]],
        siblings: Mapping[str, Storage],
    ) -> None:
        self._limits = limits
        self._siblings = siblings
        self._reset_flags = _CAUSES[ResetCause.POWER_ON]
        super().__init__(block)

    def reset(self) -> None:
        """Reset values; the flags in CSR say why, and stay until they are cleared."""
        super().reset()
        self._words[CSR] = self._reset_flags

    def note_reset(self, cause: ResetCause) -> None:
        """Add to CSR why the chip was reset."""
        flags = _CAUSES[cause]
        self._reset_flags |= flags
        self._words[CSR] = self._words.get(CSR, 0) | flags

    @property
    def power_clocked(self) -> bool:
        """Whether PWR takes writes (APB1ENR.PWREN)."""
        return bool(self.read_word(APB1ENR) & _PWREN)

    @property
    def sysclk_hz(self) -> int:
        """Frequency of the system clock as it is set."""
        source = self.read_word(CFGR) >> 2 & 3
        return (_HSI_HZ, _HSE_HZ, self._pll_hz(), 0)[source]

    @property
    def hclk_hz(self) -> int:
        """Frequency of the core: the system clock through the AHB prescaler."""
        prescaler = self.read_word(CFGR) >> 4 & 0xF
        shift = (0, 1, 2, 3, 4, 6, 7, 8, 9)[max(prescaler - 7, 0)]
        return self.sysclk_hz >> shift

    def works(self, wait_states: int) -> bool:
        """Whether voltage and flash wait states allow the core clock that is set."""
        by_wait_states = self._limits["max_hclk_hz_by_wait_states"]
        power = self._siblings["pwr"]
        return self.hclk_hz <= min(
            by_wait_states[min(wait_states, len(by_wait_states) - 1)],
            self._limits["max_hclk_hz_by_vos"][power.voltage_scale],
        )

    def write_word(self, offset: int, value: int) -> None:
        """Write one register; bits that follow from others change with it."""
        if offset == CR:
            self._write_cr(value)
        elif offset == CFGR:
            switch = value & 3
            status = switch if self._can_drive(switch) else self.read_word(CFGR) >> 2 & 3
            self._words[CFGR] = value & ~0xC | status << 2
        elif offset == PLLCFGR and self.read_word(CR) & _PLL_BITS[0]:
            return  # can be written only while the PLL is off
        elif offset == CSR:
            self._write_csr(value)
        elif offset == BDCR:
            self._words[BDCR] = value & ~2 | (value & 1) << 1
        else:
            super().write_word(offset, value)

    def _write_cr(self, value: int) -> None:
        in_use = self.read_word(CFGR) >> 2 & 3
        if in_use == _HSI or (in_use == _PLL and not self._pll_uses_hse):
            value |= _HSI_BITS[0]
        if in_use == _PLL:
            value |= _PLL_BITS[0]
        ready = _HSI_BITS[1] | _HSE_BITS[1] | _PLL_BITS[1] | _PLLI2S_BITS[1]
        value &= ~ready
        for enable, flag in (_HSI_BITS, _HSE_BITS):
            if value & enable:
                value |= flag
        for enable, flag in (_PLL_BITS, _PLLI2S_BITS):
            if value & enable and self._pll_locks(value):
                value |= flag
        self._words[CR] = value

    def _write_csr(self, value: int) -> None:
        flags = self.read_word(CSR) & _RESET_FLAGS
        if value & _RMVF:
            flags = self._reset_flags = 0
        self._words[CSR] = flags | (value & 1) | (value & 1) << 1  # LSION, LSIRDY

    def _can_drive(self, source: int) -> bool:
        cr = self.read_word(CR)
        flags = (_HSI_BITS[1], _HSE_BITS[1], _PLL_BITS[1], 0)
        return bool(cr & flags[source])

    @property
    def _pll_uses_hse(self) -> bool:
        return bool(self.read_word(PLLCFGR) & 1 << 22)

    def _pll_locks(self, cr: int) -> bool:
        """Whether source, divider and VCO are within RM0402 6.3.2's limits."""
        source = _HSE_BITS[1] if self._pll_uses_hse else _HSI_BITS[1]
        m, n, _ = self._pll_factors()
        if not cr & source or m < 2 or not 50 <= n <= 432:
            return False
        vco_input_hz = (_HSE_HZ if self._pll_uses_hse else _HSI_HZ) / m
        return 0.95e6 <= vco_input_hz <= 2.1e6 and 100e6 <= vco_input_hz * n <= 432e6

    def _pll_factors(self) -> tuple[int, int, int]:
        config = self.read_word(PLLCFGR)
        return config & 0x3F, config >> 6 & 0x1FF, 2 * ((config >> 16 & 3) + 1)

    def _pll_hz(self) -> int:
        m, n, p = self._pll_factors()
        source_hz = _HSE_HZ if self._pll_uses_hse else _HSI_HZ
        return source_hz * n // (max(m, 1) * p)


class PowerControlF4(Storage):
    """PWR: the voltage scale, which takes writes only while the block is clocked."""

    def __init__(self, block: RegisterBlock, siblings: Mapping[str, Storage]) -> None:
        self._siblings = siblings
        super().__init__(block)

    @property
    def voltage_scale(self) -> int:
        """CR.VOS: 1 is the lowest voltage, 3 the highest."""
        return super().read_word(0) >> 14 & 3

    def read_word(self, offset: int) -> int:
        """Value of one register; CSR.VOSRDY is always set."""
        value = super().read_word(offset)
        return value | 1 << 14 if offset == 4 else value

    def write_word(self, offset: int, value: int) -> None:
        """Write one register, unless the block has no clock."""
        if self._siblings["rcc"].power_clocked:
            super().write_word(offset, value)
