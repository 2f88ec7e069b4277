"""The flash controller under pyOCD's own algorithm, and on its own."""

import os
import struct

import numpy as np
import pytest
from pyocd.core import exceptions
from pyocd.core.memory_map import FlashRegion
from pyocd.flash.loader import FlashLoader
from pyocd.target import TARGET

from mcuq_lab.nucleosim.chip import board_ids, load_chip
from mcuq_lab.nucleosim.engine.memory import HostMemory
from mcuq_lab.nucleosim.peripherals import flash_f4
from mcuq_lab.nucleosim.peripherals.flash_f4 import FlashControllerF4

START = 0x08000000
KEYS = (0x45670123, 0xCDEF89AB)
LOCK, STRT, PG, SER, MER, WORD = 1 << 31, 1 << 16, 1 << 0, 1 << 1, 1 << 2, 2 << 8
PGSERR, PGPERR, WRPERR, BSY = 1 << 7, 1 << 6, 1 << 4, 1 << 16


@pytest.mark.parametrize("board", board_ids())
def test_memory_map_is_pyocds(board):
    chip = load_chip(board)
    memory_map = TARGET[chip.pyocd_target].MEMORY_MAP
    starts = [chip.flash.start]
    for size in chip.flash.sector_bytes:
        starts.append(starts[-1] + size)
    flashes = [region for region in memory_map if isinstance(region, FlashRegion)]
    expected = []
    for region in flashes:
        expected += range(region.start, region.end + 1, region.sector_size)
    assert starts[:-1] == expected
    rams = {(region.start, region.length) for region in memory_map if region.is_ram}
    assert rams <= {(ram.start, ram.size_bytes) for ram in chip.rams}


def test_pyocd_programs_and_reads_back(bench):
    data = os.urandom(70_001)
    FlashLoader.program_binary_data(bench.session, START + 0x4000, data)
    assert bytes(bench.target.read_memory_block8(START + 0x4000, len(data))) == data
    assert bench.target.read8(START + 0x4000 + len(data)) == 0xFF
    erased = bench.board.flash_erase_count
    assert erased == 4  # the sectors at 0x4000, 0x8000, 0xC000, and the one of 64 KB
    FlashLoader.program_binary_data(bench.session, START + 0x4000, data)
    assert bench.board.flash_erase_count == erased


def test_chip_erase(bench):
    FlashLoader.program_binary_data(bench.session, START, b"not for long")
    from pyocd.flash.eraser import FlashEraser

    FlashEraser(bench.session, FlashEraser.Mode.CHIP).erase()
    assert set(bench.board.flash_image()) == {0xFF}


def test_worn_out_flash_fails_to_verify(bench):
    bench.board.inject(type(bench.board.faults)(stuck_flash_address=START + 0x1234))
    data = bytes(0x2000)
    FlashLoader.program_binary_data(bench.session, START, data)
    read_back = bytes(bench.target.read_memory_block8(START, len(data)))
    assert [at for at in range(len(data)) if read_back[at] != data[at]] == [0x1234]


@pytest.fixture
def controller():
    flash = load_chip("nucleo-f412zg").flash
    return FlashControllerF4(flash, HostMemory(flash.start, flash.size_bytes, fill=0xFF))


def write(controller, register, value):
    controller.write(controller.flash.controller_base + register, 4, value)


def read(controller, register):
    return controller.read(controller.flash.controller_base + register, 4)


def unlock(controller):
    for key in KEYS:
        write(controller, flash_f4.KEYR, key)


def test_locked_until_both_keys(controller):
    assert read(controller, flash_f4.CR) == LOCK
    write(controller, flash_f4.CR, PG)
    assert read(controller, flash_f4.CR) == LOCK
    unlock(controller)
    write(controller, flash_f4.CR, PG | WORD)
    assert read(controller, flash_f4.CR) == PG | WORD
    write(controller, flash_f4.CR, LOCK)
    assert read(controller, flash_f4.CR) & LOCK


def test_wrong_key_locks_until_reset(controller):
    write(controller, flash_f4.KEYR, KEYS[1])
    unlock(controller)
    assert read(controller, flash_f4.CR) & LOCK
    controller.reset()
    unlock(controller)
    assert not read(controller, flash_f4.CR) & LOCK


def test_programming_only_clears_bits(controller):
    unlock(controller)
    write(controller, flash_f4.CR, PG | WORD)
    controller.program(START + 8, struct.pack("<I", 0xFFFF00F0))
    controller.program(START + 8, struct.pack("<I", 0x12345678))
    assert controller.memory.read(START + 8, 4) == struct.pack("<I", 0x12340070)
    assert read(controller, flash_f4.SR) == 0
    assert controller.take_dirty() == (8, 12)
    assert controller.take_dirty() is None


def test_errors(controller):
    controller.program(START, b"\0\0\0\0")
    assert read(controller, flash_f4.SR) == PGSERR
    unlock(controller)
    write(controller, flash_f4.CR, PG)  # by bytes
    controller.program(START, b"\0\0\0\0")
    assert read(controller, flash_f4.SR) == PGSERR | PGPERR
    write(controller, flash_f4.SR, 0xFFFFFFFF)
    assert read(controller, flash_f4.SR) == 0
    assert controller.memory.read(START, 4) == b"\xff\xff\xff\xff"


def test_sector_erase_leaves_the_neighbours(controller):
    controller.memory.bytes[:] = 0
    unlock(controller)
    write(controller, flash_f4.CR, SER | 4 << 3 | STRT)
    erased = np.flatnonzero(controller.memory.bytes == 0xFF)
    assert (erased[0], erased[-1] + 1, len(erased)) == (0x10000, 0x20000, 0x10000)
    assert not read(controller, flash_f4.CR) & STRT


def test_write_protected_sector(controller):
    for key in (0x08192A3B, 0x4C5D6E7F):
        write(controller, flash_f4.OPTKEYR, key)
    options = read(controller, flash_f4.OPTCR)
    write(controller, flash_f4.OPTCR, options & ~(1 << 16 + 1))
    controller.memory.bytes[:] = 0
    unlock(controller)
    write(controller, flash_f4.CR, SER | 1 << 3 | STRT)
    assert read(controller, flash_f4.SR) == WRPERR
    write(controller, flash_f4.SR, WRPERR)
    write(controller, flash_f4.CR, MER | STRT)
    assert read(controller, flash_f4.SR) == WRPERR
    assert not controller.memory.bytes.any()


def test_stuck_controller_stays_busy_until_reset(controller):
    controller.stuck_busy = True
    unlock(controller)
    assert read(controller, flash_f4.SR) == 0
    write(controller, flash_f4.CR, PG | WORD)
    controller.program(START, b"\0\0\0\0")
    assert read(controller, flash_f4.SR) == BSY
    assert controller.memory.read(START, 4) == b"\xff\xff\xff\xff"
    write(controller, flash_f4.CR, LOCK)  # not while it is busy
    assert read(controller, flash_f4.CR) == PG | WORD
    controller.reset()
    assert read(controller, flash_f4.SR) == 0
    controller.memory.bytes[:] = 0
    unlock(controller)
    write(controller, flash_f4.CR, MER | STRT)
    assert read(controller, flash_f4.SR) == BSY
    assert not controller.memory.bytes.any()
    controller.stuck_busy = False
    assert read(controller, flash_f4.SR) == 0
    write(controller, flash_f4.CR, MER | STRT)
    assert controller.memory.bytes.all()


def test_stores_by_firmware_follow_the_same_rules(bench, build_image):
    image = build_image("""
        #define FLASH(offset) REG(0x40023C00 + offset)
        volatile uint32_t error, refused, first, second, multiple[4];
        int main(void) {
          volatile uint32_t *cell = (volatile uint32_t *)0x080E0000;
          *cell = 0x1234;
          refused = *cell;
          error = FLASH(0x0C);
          FLASH(0x0C) = 0xF0;
          FLASH(0x04) = 0x45670123; FLASH(0x04) = 0xCDEF89AB;
          FLASH(0x10) = 0x201;
          *cell = 0xF0F01234;
          first = *cell;
          *cell = 0x0000FFFF;
          second = *cell;
          uint32_t at = 0x080E0000;
          __asm volatile(
              "mov r1, #0x0F000000\\n mov r2, #3\\n stm %0!, {r1, r2}\\n"
              : "+r"(at) :: "r1", "r2", "memory");
          multiple[0] = cell[0]; multiple[1] = cell[1]; multiple[2] = at;
          return 0;
        }""")
    bench.flash(image)
    bench.run()
    assert bench.read("refused") == [0xFFFFFFFF]
    assert bench.read("error") == [PGSERR]
    assert bench.read("first") == [0xF0F01234]
    assert bench.read("second") == [0x00001234]
    assert bench.read("multiple", 3) == [0, 3, 0x080E0008]
    assert bench.target.read32(0x000E0004) == 3


def test_reprogrammed_code_runs(bench, build_image):
    for value in (1, 2, 3):
        bench.flash(
            build_image(f"volatile uint32_t out; int main(void) {{ out = {value}; return 0; }}")
        )
        bench.run()
        assert bench.read("out") == [value]


def test_debugger_cannot_write_flash_directly(bench):
    bench.target.write32(START, 0x12345678)
    assert bench.target.read32(START) == 0xFFFFFFFF
    with pytest.raises(exceptions.TransferFaultError):
        bench.target.read32(0x60000000)
