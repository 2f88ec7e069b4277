"""Peripherals with behaviour, by what `chips/*.toml` gives as `model` and `controller`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mcuq_lab.nucleosim.chip import Chip, RegisterBlock
from mcuq_lab.nucleosim.errors import NucleoSimError
from mcuq_lab.nucleosim.peripherals import clocks_f4, clocks_h7, clocks_l4, power_h7
from mcuq_lab.nucleosim.peripherals.clocks import ClockControl
from mcuq_lab.nucleosim.peripherals.flash_f4 import FlashControllerF4
from mcuq_lab.nucleosim.peripherals.flash_f7 import FlashControllerF7
from mcuq_lab.nucleosim.peripherals.flash_h7 import FlashControllerH7
from mcuq_lab.nucleosim.peripherals.flash_l4 import FlashControllerL4
from mcuq_lab.nucleosim.peripherals.storage import Storage

FLASH_CONTROLLERS = {
    "f4": FlashControllerF4,
    "f7": FlashControllerF7,
    "h7": FlashControllerH7,
    "l4": FlashControllerL4,
}

_Siblings = Mapping[str, Storage]

_MODELS: dict[str, Callable[[Chip, RegisterBlock, _Siblings], Storage]] = {
    "storage": lambda chip, block, siblings: Storage(block),
    "rcc_f4": lambda chip, block, siblings: clocks_f4.ClockControlF4(block, chip.clock, siblings),
    "pwr_f4": lambda chip, block, siblings: clocks_f4.PowerControlF4(block, chip.clock, siblings),
    "rcc_l4": lambda chip, block, siblings: clocks_l4.ClockControlL4(block, chip.clock, siblings),
    "rcc_h7": lambda chip, block, siblings: clocks_h7.ClockControlH7(block, chip.clock, siblings),
    "pwr_h7": lambda chip, block, siblings: power_h7.PowerControlH7(block, siblings),
    "syscfg_h7": lambda chip, block, siblings: power_h7.SystemConfigurationH7(block, siblings),
    "pwr_l4": lambda chip, block, siblings: clocks_l4.PowerControlL4(block, siblings),
}


def make_peripherals(chip: Chip) -> dict[str, Storage]:
    """The register blocks of a chip, by name; each can find the others when it is accessed.

    Raises:
        NucleoSimError: a block names a model that there is not.
    """
    blocks: dict[str, Storage] = {}
    for description in chip.peripherals:
        model = _MODELS.get(description.model)
        if model is None:
            raise NucleoSimError(
                f"{chip.name}: peripheral {description.name} has no model "
                f"{description.model!r}. Correct chips/{chip.id}.toml."
            )
        blocks[description.name] = model(chip, description, blocks)
    return blocks


def clock_control(blocks: Mapping[str, Storage]) -> ClockControl | None:
    """The clock control among the blocks, if there is one."""
    return next((block for block in blocks.values() if isinstance(block, ClockControl)), None)
