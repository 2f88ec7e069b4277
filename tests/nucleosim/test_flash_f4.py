"""The flash controller of the STM32F4: on its own, under firmware, and with two banks."""

import struct

import numpy as np
import pytest
from pyocd.core import exceptions
from pyocd.flash.loader import FlashLoader

from mcuq_lab.nucleosim.chip import load_chip
from mcuq_lab.nucleosim.engine.memory import HostMemory
from mcuq_lab.nucleosim.peripherals import flash_f4_f7
from mcuq_lab.nucleosim.peripherals.flash_f4 import FlashControllerF4

START = 0x08000000
KEYS = (0x45670123, 0xCDEF89AB)
FLASH = 0x40023C00
LOCK, STRT, PG, SER, MER, MER1 = 1 << 31, 1 << 16, 1 << 0, 1 << 1, 1 << 2, 1 << 15
WORD = 2 << 8
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
        write(controller, flash_f4_f7.KEYR, key)


def test_locked_until_both_keys(controller):
    assert read(controller, flash_f4_f7.CR) == LOCK
    write(controller, flash_f4_f7.CR, PG)
    assert read(controller, flash_f4_f7.CR) == LOCK
    unlock(controller)
    write(controller, flash_f4_f7.CR, PG | WORD)
    assert read(controller, flash_f4_f7.CR) == PG | WORD
    write(controller, flash_f4_f7.CR, LOCK)
    assert read(controller, flash_f4_f7.CR) & LOCK


def test_wrong_key_locks_until_reset(controller):
    write(controller, flash_f4_f7.KEYR, KEYS[1])
    unlock(controller)
    assert read(controller, flash_f4_f7.CR) & LOCK
    controller.reset()
    unlock(controller)
    assert not read(controller, flash_f4_f7.CR) & LOCK


def test_programming_only_clears_bits(controller):
    unlock(controller)
    write(controller, flash_f4_f7.CR, PG | WORD)
    controller.program(START + 8, struct.pack("<I", 0xFFFF00F0))
    controller.program(START + 8, struct.pack("<I", 0x12345678))
    assert controller.memory.read(START + 8, 4) == struct.pack("<I", 0x12340070)
    assert read(controller, flash_f4_f7.SR) == 0
    assert controller.take_dirty() == (8, 12)
    assert controller.take_dirty() is None


def test_errors(controller):
    controller.program(START, b"\0\0\0\0")
    assert read(controller, flash_f4_f7.SR) == PGSERR
    unlock(controller)
    write(controller, flash_f4_f7.CR, PG)  # by bytes
    controller.program(START, b"\0\0\0\0")
    assert read(controller, flash_f4_f7.SR) == PGSERR | PGPERR
    write(controller, flash_f4_f7.SR, 0xFFFFFFFF)
    assert read(controller, flash_f4_f7.SR) == 0
    assert controller.memory.read(START, 4) == b"\xff\xff\xff\xff"


def test_sector_erase_leaves_the_neighbours(controller):
    controller.memory.bytes[:] = 0
    unlock(controller)
    write(controller, flash_f4_f7.CR, SER | 4 << 3 | STRT)
    erased = np.flatnonzero(controller.memory.bytes == 0xFF)
    assert (erased[0], erased[-1] + 1, len(erased)) == (0x10000, 0x20000, 0x10000)
    assert not read(controller, flash_f4_f7.CR) & STRT


def test_write_protected_sector(controller):
    for key in (0x08192A3B, 0x4C5D6E7F):
        write(controller, flash_f4_f7.OPTKEYR, key)
    options = read(controller, flash_f4_f7.OPTCR)
    write(controller, flash_f4_f7.OPTCR, options & ~(1 << 16 + 1))
    controller.memory.bytes[:] = 0
    unlock(controller)
    write(controller, flash_f4_f7.CR, SER | 1 << 3 | STRT)
    assert read(controller, flash_f4_f7.SR) == WRPERR
    write(controller, flash_f4_f7.SR, WRPERR)
    write(controller, flash_f4_f7.CR, MER | STRT)
    assert read(controller, flash_f4_f7.SR) == WRPERR
    assert not controller.memory.bytes.any()


def test_stuck_controller_stays_busy_until_reset(controller):
    controller.stuck_busy = True
    unlock(controller)
    assert read(controller, flash_f4_f7.SR) == 0
    write(controller, flash_f4_f7.CR, PG | WORD)
    controller.program(START, b"\0\0\0\0")
    assert read(controller, flash_f4_f7.SR) == BSY
    assert controller.memory.read(START, 4) == b"\xff\xff\xff\xff"
    write(controller, flash_f4_f7.CR, LOCK)  # not while it is busy
    assert read(controller, flash_f4_f7.CR) == PG | WORD
    controller.reset()
    assert read(controller, flash_f4_f7.SR) == 0
    controller.memory.bytes[:] = 0
    unlock(controller)
    write(controller, flash_f4_f7.CR, MER | STRT)
    assert read(controller, flash_f4_f7.SR) == BSY
    assert not controller.memory.bytes.any()
    controller.stuck_busy = False
    assert read(controller, flash_f4_f7.SR) == 0
    write(controller, flash_f4_f7.CR, MER | STRT)
    assert controller.memory.bytes.all()


@pytest.fixture
def two_banks():
    flash = load_chip("nucleo-f429zi").flash
    controller = FlashControllerF4(flash, HostMemory(flash.start, flash.size_bytes))
    for key in (0x08192A3B, 0x4C5D6E7F):
        write(controller, flash_f4_f7.OPTKEYR, key)
    unlock(controller)
    return controller


def erased_range(controller):
    erased = np.flatnonzero(controller.memory.bytes == 0xFF)
    assert len(erased) == (erased[-1] + 1 - erased[0] if len(erased) else 0)
    return (int(erased[0]), int(erased[-1]) + 1) if len(erased) else None


@pytest.mark.parametrize(
    ("number", "start", "end"),
    [
        (11, 0x0E0000, 0x100000),
        (16, 0x100000, 0x104000),
        (20, 0x110000, 0x120000),
        (27, 0x1E0000, 0x200000),
    ],
)
def test_sectors_of_bank_2_start_at_16(two_banks, number, start, end):
    write(two_banks, flash_f4_f7.CR, SER | number << 3 | STRT)
    assert read(two_banks, flash_f4_f7.SR) == 0
    assert erased_range(two_banks) == (start, end)


@pytest.mark.parametrize("number", [12, 15, 28, 31])
def test_numbers_without_a_sector(two_banks, number):
    write(two_banks, flash_f4_f7.CR, SER | number << 3 | STRT)
    assert read(two_banks, flash_f4_f7.SR) == WRPERR
    assert erased_range(two_banks) is None


@pytest.mark.parametrize(
    ("banks", "start", "end"),
    [(MER, 0, 0x100000), (MER1, 0x100000, 0x200000), (MER | MER1, 0, 0x200000)],
)
def test_mass_erase_by_bank(two_banks, banks, start, end):
    write(two_banks, flash_f4_f7.CR, banks | STRT)
    assert erased_range(two_banks) == (start, end)


def test_each_bank_has_its_own_write_protection(two_banks):
    write(two_banks, flash_f4_f7.OPTCR1, 0x0FFF0000 & ~(1 << 16 + 1))  # the second sector of bank 2
    write(two_banks, flash_f4_f7.CR, SER | 17 << 3 | STRT)
    assert read(two_banks, flash_f4_f7.SR) == WRPERR
    write(two_banks, flash_f4_f7.SR, WRPERR)
    write(two_banks, flash_f4_f7.CR, MER | MER1 | STRT)
    assert read(two_banks, flash_f4_f7.SR) == WRPERR
    write(two_banks, flash_f4_f7.SR, WRPERR)
    assert erased_range(two_banks) is None
    for number in (1, 16, 18):
        write(two_banks, flash_f4_f7.CR, SER | number << 3 | STRT)
        assert read(two_banks, flash_f4_f7.SR) == 0
    write(two_banks, flash_f4_f7.CR, PG | WORD)
    two_banks.program(START + 0x104000, bytes(4))
    assert read(two_banks, flash_f4_f7.SR) == WRPERR


def test_one_bank_has_no_registers_of_the_second(controller):
    unlock(controller)
    assert read(controller, flash_f4_f7.OPTCR1) == 0
    write(controller, flash_f4_f7.CR, MER1)
    assert read(controller, flash_f4_f7.CR) == 0


@pytest.mark.parametrize(
    ("register", "sector", "address"), [("OPTCR", 2, 0x08008000), ("OPTCR1", 13, 0x08104000)]
)
def test_pyocd_says_what_is_write_protected(new_bench, register, sector, address):
    bench = new_bench(board="nucleo-f429zi")
    for key in (0x08192A3B, 0x4C5D6E7F):
        bench.target.write32(FLASH + flash_f4_f7.OPTKEYR, key)
    at = FLASH + getattr(flash_f4_f7, register)
    bench.target.write32(at, bench.target.read32(at) & ~(1 << 16 + sector % 12))
    with pytest.raises(exceptions.FlashFailure) as error:
        FlashLoader.program_binary_data(bench.session, address, b"protected")
    assert error.value.address == address
    FlashLoader.program_binary_data(bench.session, address + 0x4000, b"open")
    assert bytes(bench.target.read_memory_block8(address + 0x4000, 4)) == b"open"


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
