"""The memory map is pyOCD's, and the linker script says the same."""

import dataclasses
import re

import pytest
from pyocd.target import TARGET

from mcuq_lab.bench.memory_map import linker_script, memory_map
from mcuq_lab.board import ExtraRegion, load_board
from mcuq_lab.errors import ConfigError

BOARD = load_board("nucleo_f412zg")


def test_flash_is_merged_and_complete():
    memory = memory_map(BOARD)
    flash = [region for region in TARGET["stm32f412xg"].MEMORY_MAP.regions if region.is_flash]
    assert len(flash) > 1
    assert memory.flash.start == min(region.start for region in flash)
    assert memory.flash.length_bytes == sum(region.length for region in flash) == 1 << 20


def test_the_linker_script_has_pyocds_numbers():
    memory = memory_map(BOARD)
    script = linker_script(memory, BOARD.stack_bytes)
    found = re.findall(r"(\w+) +\(\w+\) *: ORIGIN = (\w+), +LENGTH = (\w+)", script)
    assert found == [("FLASH", "0x08000000", "1048576"), ("RAM", "0x20000000", "262144")]
    assert ". += 4096;" in script
    assert "$" not in script


def test_flash_behind_a_gap_or_of_another_name_is_not_merged():
    # The L432's two SRAMs are 0x10000000 and 0x20000000: RAM is never merged.
    board = dataclasses.replace(BOARD, pyocd_target="stm32l432kc", ram_region="sram1")
    memory = memory_map(board)
    assert (memory.ram.start, memory.ram.length_bytes) == (0x2000_0000, 48 * 1024)


def test_a_board_may_add_a_region_that_pyocd_lacks():
    extra = ExtraRegion("axi", 0x2400_0000, 512 * 1024, "RM0433, 2.3")
    board = dataclasses.replace(
        BOARD, pyocd_target="stm32h743xx", ram_region="axi", extra_regions=(extra,)
    )
    assert memory_map(board).ram.start == 0x2400_0000
    assert memory_map(board).flash.length_bytes == 2 << 20


def test_a_target_that_needs_a_pack_is_refused_with_advice():
    board = dataclasses.replace(BOARD, pyocd_target="stm32f446retx")
    with pytest.raises(ConfigError, match=r"stm32f446retx.*CMSIS pack"):
        memory_map(board)


def test_an_unknown_region_is_refused_with_those_that_exist():
    with pytest.raises(ConfigError, match=r"'ccm'.*has: ram"):
        memory_map(dataclasses.replace(BOARD, ram_region="ccm"))
    with pytest.raises(ConfigError, match=r"FLASH region 'ram'.*flash_1"):
        memory_map(dataclasses.replace(BOARD, flash_region="ram"))
