"""Clock and power control of the STM32L4 (RM0394 5 and 6)."""

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
CFGR = 0x08
PLLCFGR = 0x0C
PLLSAI1CFGR = 0x10
APB1ENR1 = 0x58
BDCR = 0x90
CSR = 0x94
CRRCR = 0x98

_MSI, _HSI, _HSE, _PLL = 0, 1, 2, 3
_HSI_HZ = 16_000_000
_MSI_HZ = (
    *(100_000, 200_000, 400_000, 800_000, 1_000_000, 2_000_000),
    *(4_000_000, 8_000_000, 16_000_000, 24_000_000, 32_000_000, 48_000_000),
)
_PWREN = 1 << 28

# (enable bit, ready bit) in CR. HSE never gets ready: nothing drives it on a NUCLEO-L432KC.
_MSI_BITS = (1 << 0, 1 << 1)
_HSI_BITS = (1 << 8, 1 << 10)
_HSE_BITS = (1 << 16, 1 << 17)
_PLL_BITS = (1 << 24, 1 << 25)
_PLLS = ((_PLL_BITS, PLLCFGR), ((1 << 26, 1 << 27), PLLSAI1CFGR))
_MSIRGSEL = 1 << 3
_MSISRANGE = 0xF00  # in CSR
_MSI_STANDBY_RANGES = range(4, 8)  # 1 to 8 MHz
_MSIRANGE = 0xF << 4

# PLLCFGR.PLLPEN, PLLQEN, PLLREN: the outputs can be switched while the PLL is on.
_PLL_OUTPUTS = 1 << 16 | 1 << 20 | 1 << 24
_PLLREN = 1 << 24

# PWR_CR1
_VOS = 3 << 9


class ClockControlL4(ClockControl):
    """RCC: oscillators, PLLs, and the switch between them.

    Limits of the chip for each voltage range (PWR_CR1.VOS), 1 and 2:
    `max_hclk_hz_by_wait_states_range_1` and `..._2`; and by range, with a 0 before them:
    `max_sysclk_hz_by_range`, `max_msi_hz_by_range`, `max_vco_hz_by_range`.
    """

    _flags_register = CSR
    _flags_mask = 0xFF000000
    _flags_clear = 1 << 23  # RMVF
    _flags_of = {  # noqa: RUF012
        ResetCause.POWER_ON: 0x0C000000,  # BORRSTF, PINRSTF
        ResetCause.BROWN_OUT: 0x0C000000,
        ResetCause.SOFTWARE: 0x14000000,  # SFTRSTF, PINRSTF
        ResetCause.PIN: 0x04000000,  # PINRSTF
    }

    @property
    def power_clocked(self) -> bool:
        """Whether PWR takes writes (APB1ENR1.PWREN)."""
        return bool(self.read_word(APB1ENR1) & _PWREN)

    @property
    def msi_hz(self) -> int:
        """Frequency of the MSI: by CR.MSIRANGE if MSIRGSEL is set, by CSR.MSISRANGE until then."""
        cr = self.read_word(CR)
        number = cr >> 4 if cr & _MSIRGSEL else self.read_word(CSR) >> 8
        return _MSI_HZ[number & 0xF]

    @property
    def sysclk_hz(self) -> int:
        """Frequency of the system clock as it is set."""
        return (self.msi_hz, _HSI_HZ, 0, self._pll_hz())[self._source]

    @property
    def hclk_hz(self) -> int:
        """Frequency of the core: the system clock through the AHB prescaler."""
        return self.sysclk_hz >> ahb_shift(self.read_word(CFGR) >> 4 & 0xF)

    def works(self, wait_states: int) -> bool:
        """Whether voltage and flash wait states allow the clocks that are set."""
        voltage = self._siblings["pwr"].voltage_range
        by_wait_states = f"max_hclk_hz_by_wait_states_range_{voltage}"
        cr = self.read_word(CR)
        return (
            self.hclk_hz <= self._limit_hz(by_wait_states, wait_states)
            and self.sysclk_hz <= self._limits["max_sysclk_hz_by_range"][voltage]
            and (
                not cr & _MSI_BITS[0] or self.msi_hz <= self._limits["max_msi_hz_by_range"][voltage]
            )
        )

    def write_word(self, offset: int, value: int) -> None:
        """Write one register; bits that follow from others change with it."""
        if offset == CR:
            self._write_cr(value)
        elif offset == CFGR:
            switch = value & 3
            status = switch if self._can_drive(switch) else self._source
            self._words[CFGR] = value & ~0xC | status << 2
        elif offset == PLLCFGR and self.read_word(CR) & _PLL_BITS[0]:
            self._words[PLLCFGR] = self.read_word(PLLCFGR) & ~_PLL_OUTPUTS | value & _PLL_OUTPUTS
        elif offset == CSR:
            chosen = self.read_word(CR) & _MSIRGSEL
            if not chosen or value >> 8 & 0xF not in _MSI_STANDBY_RANGES:  # hardware refuses it
                value = value & ~_MSISRANGE | self.read_word(CSR) & _MSISRANGE
            self._write_flags_register(with_ready_bits(value, LOWEST_BITS))
        elif offset in (BDCR, CRRCR):
            self._words[offset] = with_ready_bits(value, LOWEST_BITS)
        else:
            super().write_word(offset, value)

    def _write_cr(self, value: int) -> None:
        before = self.read_word(CR)
        drives = self._pll_source if self._source == _PLL else self._source
        if drives == _MSI:
            value |= _MSI_BITS[0]
        if drives == _HSI:
            value |= _HSI_BITS[0]
        if self._source == _PLL:
            value |= _PLL_BITS[0]
        if value >> 4 & 0xF >= len(_MSI_HZ):
            value = value & ~_MSIRANGE | before & _MSIRANGE  # hardware refuses these ranges
        value |= before & _MSIRGSEL  # can be cleared by a reset only
        value = with_ready_bits(value, _MSI_BITS, _HSI_BITS) & ~_HSE_BITS[1]
        self._words[CR] = value  # the range of the MSI counts for the PLLs
        for (enable, flag), register in _PLLS:
            locks = value & enable and self._pll_locks(value, register)
            value = value | flag if locks else value & ~flag
        self._words[CR] = value

    @property
    def _source(self) -> int:
        return self.read_word(CFGR) >> 2 & 3

    def _can_drive(self, source: int) -> bool:
        cr = self.read_word(CR)
        if source == _PLL and not self.read_word(PLLCFGR) & _PLLREN:
            return False
        flags = (_MSI_BITS[1], _HSI_BITS[1], _HSE_BITS[1], _PLL_BITS[1])
        return bool(cr & flags[source])

    @property
    def _pll_source(self) -> int | None:
        """What PLLCFGR.PLLSRC selects: nothing, MSI, HSI16, HSE."""
        return (None, _MSI, _HSI, _HSE)[self.read_word(PLLCFGR) & 3]

    def _pll_locks(self, cr: int, register: int) -> bool:
        """Whether source, divider and VCO of a PLL are within RM0394 6.2.5's limits."""
        source = self._pll_source
        ready = {_MSI: _MSI_BITS[1], _HSI: _HSI_BITS[1], _HSE: _HSE_BITS[1]}.get(source, 0)
        n = self.read_word(register) >> 8 & 0x7F
        input_hz = self._vco_input_hz()
        voltage = self._siblings["pwr"].voltage_range
        return (
            bool(cr & ready)
            and 8 <= n <= 86
            and 4e6 <= input_hz <= 16e6
            and 64e6 <= input_hz * n <= self._limits["max_vco_hz_by_range"][voltage]
        )

    def _vco_input_hz(self) -> float:
        source_hz = {_MSI: self.msi_hz, _HSI: _HSI_HZ}.get(self._pll_source, 0)
        return source_hz / ((self.read_word(PLLCFGR) >> 4 & 7) + 1)

    def _pll_hz(self) -> int:
        config = self.read_word(PLLCFGR)
        r = 2 * ((config >> 25 & 3) + 1)
        return int(self._vco_input_hz() * (config >> 8 & 0x7F) / r)


class PowerControlL4(Storage):
    """PWR: the voltage range, which takes writes only while the block is clocked."""

    def __init__(self, block: RegisterBlock, siblings: Mapping[str, Storage]) -> None:
        self._siblings = siblings
        super().__init__(block)

    @property
    def voltage_range(self) -> int:
        """CR1.VOS: 1 is the high voltage, for up to 80 MHz, 2 the low one."""
        return self.read_word(0) >> 9 & 3

    def write_word(self, offset: int, value: int) -> None:
        """Write one register, unless the block has no clock. SR2.VOSF reads 0: it is settled."""
        if not self._siblings["rcc"].power_clocked:
            return
        if offset == 0 and value & _VOS not in (1 << 9, 2 << 9):
            value = value & ~_VOS | self.read_word(0) & _VOS  # hardware refuses these values
        super().write_word(offset, value)
