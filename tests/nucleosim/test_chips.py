"""What the descriptions of the chips say fits together."""

from itertools import pairwise

import pytest

from mcuq_lab.nucleosim.chip import board_ids, load_chip

# In the chapter "Device electronic signature" of RM0402, RM0090, RM0394 and RM0410.
FLASH_SIZE_REGISTERS = {
    "nucleo-f412zg": 0x1FFF7A22,
    "nucleo-f429zi": 0x1FFF7A22,
    "nucleo-l432kc": 0x1FFF75E0,
    "nucleo-f767zi": 0x1FF0F442,
}


def windows(chip):
    """(start, end) of everything that answers on the bus, by what it is."""
    for index, memory in enumerate((chip.flash, *chip.rams)):
        for start in memory.starts:
            yield start, start + memory.size_bytes, f"memory {index}"
    for block in chip.peripherals:
        yield block.start, block.start + block.size_bytes, block.name
    yield chip.flash.controller_base, chip.flash.controller_base + 0x400, "flash registers"


@pytest.mark.parametrize("board", board_ids())
def test_nothing_overlaps(board):
    found = sorted(windows(load_chip(board)))
    for (_, end, name), (start, _, next_name) in pairwise(found):
        assert end <= start, (name, next_name)


@pytest.mark.parametrize("board", FLASH_SIZE_REGISTERS)
def test_chip_says_what_it_is(new_bench, board):
    bench = new_bench(board=board)
    chip = bench.board.chip
    assert bench.target.read32(0xE0042000) & 0xFFF == chip.core.rom_table_part  # DBGMCU_IDCODE
    assert bench.target.read32(0xE000ED00) == chip.core.cpuid
    assert bench.target.read16(FLASH_SIZE_REGISTERS[board]) == chip.flash.size_bytes // 1024
