"""ROM tables: what a debugger finds at which address, and the registers that say what it is.

Layouts: ARM 100166 (Cortex-M4); ARM DDI 0489 9.1 (Cortex-M7: processor ROM table at 0xE00FE000,
PPB ROM table at 0xE00FF000); ST RM0410 and RM0433, debug chapters. The chip's own table, with the
vendor's code, comes first: on the STM32F7 it points to the processor's, on the STM32H7 it takes its
place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mcuq_lab.nucleosim.chip import Core
from mcuq_lab.nucleosim.cortexm.features import core_features

_ROM_TABLE_CLASS, _CORESIGHT_CLASS, _GENERIC_CLASS = 0x1, 0x9, 0xE
_ARM = (0x4, 0x3B)  # JEP106: continuation code, identity
_ST = (0x0, 0x20)

_DEVARCH_OFFSET = 0xFBC
_DEVTYPE_OFFSET = 0xFCC
_PRESENT = 0b11  # in an entry: there is a component, the entry has 32 bits

_PPB_TABLE = 0xE00FF000
_PROCESSOR_TABLE = 0xE00FE000


@dataclass(frozen=True)
class Component:
    """One page with identification registers; `entries` are what a ROM table points to."""

    base: int
    part: int
    component_class: int
    designer: tuple[int, int] = _ARM
    device_type: int = 0
    architecture: int = 0
    entries: tuple[Component, ...] = ()


_SCS = Component(0xE000E000, 0x00C, _GENERIC_CLASS)
_DWT = Component(0xE0001000, 0x002, _GENERIC_CLASS)
_ITM = Component(0xE0000000, 0x001, _GENERIC_CLASS)
_TPIU_M4 = Component(0xE0040000, 0x9A1, _CORESIGHT_CLASS, device_type=0x11)
_TPIU_M7 = Component(0xE0040000, 0x9A9, _CORESIGHT_CLASS, device_type=0x11)
# Present as far as a debugger's search goes; no trace is modelled.
_ETM_M7 = Component(0xE0041000, 0x975, _CORESIGHT_CLASS, device_type=0x13, architecture=0x47704A13)
_CTI_M7 = Component(0xE0043000, 0x906, _CORESIGHT_CLASS, device_type=0x14)


def rom_table_words(core: Core) -> dict[int, int]:
    """ROM table entries and the identification registers of every component, by address."""
    words: dict[int, int] = {}
    for component in _all(_chip_table(core)):
        words |= _words(component)
    return words


def _chip_table(core: Core) -> Component:
    """The table that the access port's BASE register points to."""
    breakpoints = Component(0xE0002000, core_features(core.name).breakpoint_part, _GENERIC_CLASS)
    units = (_SCS, _DWT, breakpoints, _ITM)
    if core.name == "cortex-m4":
        entries = (*units, _TPIU_M4)
    else:
        ppb = Component(_PPB_TABLE, 0x4C7, _ROM_TABLE_CLASS, entries=units)
        entries = (ppb, _ETM_M7, _CTI_M7)
        if core.rom_table != _PROCESSOR_TABLE:
            processor = Component(_PROCESSOR_TABLE, 0x4C8, _ROM_TABLE_CLASS, entries=entries)
            entries = (processor, _TPIU_M7)
    return Component(core.rom_table, core.rom_table_part, _ROM_TABLE_CLASS, _ST, entries=entries)


def _all(component: Component) -> Iterator[Component]:
    yield component
    for entry in component.entries:
        yield from _all(entry)


def _words(component: Component) -> dict[int, int]:
    continuation, identity = component.designer
    peripheral = (
        component.part & 0xFF,
        (identity & 0xF) << 4 | component.part >> 8,
        1 << 3 | identity >> 4,
        0,
    )
    base = component.base
    words = {base + 0xFD0: continuation}
    words |= {base + 0xFE0 + 4 * index: value for index, value in enumerate(peripheral)}
    preamble = (0x0D, component.component_class << 4, 0x05, 0xB1)
    words |= {base + 0xFF0 + 4 * index: value for index, value in enumerate(preamble)}
    if component.component_class == _CORESIGHT_CLASS:
        words |= {
            base + _DEVTYPE_OFFSET: component.device_type,
            base + _DEVARCH_OFFSET: component.architecture,
        }
    if component.component_class == _ROM_TABLE_CLASS:
        for index, entry in enumerate(component.entries):
            words[base + 4 * index] = entry.base - base & 0xFFFFF000 | _PRESENT
        words[base + 4 * len(component.entries)] = 0
    return words
