"""The flash controller of the STM32F4: on its own, under firmware, and with two banks."""

import struct

import numpy as np
import pytest

from mcuq_lab.nucleosim.chip import load_chip
from mcuq_lab.nucleosim.engine.memory import HostMemory
from mcuq_lab.nucleosim.peripherals import flash_f4
from mcuq_lab.nucleosim.peripherals.flash_f4 import FlashControllerF4

START = 0x08000000
KEYS = (0x45670123, 0xCDEF89AB)
LOCK, STRT, PG, SER, MER, WORD = 1 << 31, 1 << 16, 1 << 0, 1 << 1, 1 << 2, 2 << 8
PGSERR, PGPERR, WRPERR, BSY = 1 << 7, 1 << 6, 1 << 4, 1 << 16


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
