"""The flash controller of the STM32F7, on its own and under firmware."""

import struct

import numpy as np
import pytest
from pyocd.core import exceptions
from pyocd.flash.loader import FlashLoader

from mcuq_lab.nucleosim.chip import load_chip
from mcuq_lab.nucleosim.engine.memory import HostMemory
from mcuq_lab.nucleosim.peripherals import flash_f4_f7
from mcuq_lab.nucleosim.peripherals.flash_f7 import FlashControllerF7

START = 0x08000000
KEYS, OPTION_KEYS = (0x45670123, 0xCDEF89AB), (0x08192A3B, 0x4C5D6E7F)
LOCK, STRT, PG, SER, MER = 1 << 31, 1 << 16, 1 << 0, 1 << 1, 1 << 2
BYTES, WORDS, DOUBLES = 0 << 8, 2 << 8, 3 << 8
ERSERR, PGPERR, WRPERR, BSY = 1 << 7, 1 << 6, 1 << 4, 1 << 16


@pytest.fixture
def controller():
    flash = load_chip("nucleo-f767zi").flash
    return FlashControllerF7(flash, HostMemory(flash.start, flash.size_bytes, fill=0xFF))


def write(controller, register, value):
    controller.write(controller.flash.controller_base + register, 4, value)


def read(controller, register):
    return controller.read(controller.flash.controller_base + register, 4)


def unlock(controller):
    for key in KEYS:
        write(controller, flash_f4_f7.KEYR, key)


def open_options(controller):
    for key in OPTION_KEYS:
        write(controller, flash_f4_f7.OPTKEYR, key)


def test_locked_until_both_keys(controller):
    write(controller, flash_f4_f7.CR, PG)
    assert read(controller, flash_f4_f7.CR) == LOCK
    unlock(controller)
    write(controller, flash_f4_f7.CR, PG | WORDS)
    assert read(controller, flash_f4_f7.CR) == PG | WORDS


def test_errors_in_the_order_of_the_checks(controller):
    controller.program(START, b"\0\0\0\0")
    assert read(controller, flash_f4_f7.SR) == ERSERR
    unlock(controller)
    for parallelism in (BYTES, DOUBLES):
        write(controller, flash_f4_f7.SR, ERSERR | PGPERR)
        write(controller, flash_f4_f7.CR, PG | parallelism)
        controller.program(START, b"\0\0\0\0")
        assert read(controller, flash_f4_f7.SR) == PGPERR
    write(controller, flash_f4_f7.SR, PGPERR)
    write(controller, flash_f4_f7.CR, STRT)  # to erase nothing
    assert read(controller, flash_f4_f7.SR) == ERSERR
    assert controller.memory.read(START, 4) == b"\xff\xff\xff\xff"


def test_programming_only_clears_bits(controller):
    unlock(controller)
    write(controller, flash_f4_f7.CR, PG | WORDS)
    controller.program(START + 8, struct.pack("<I", 0xFFFF00F0))
    controller.program(START + 8, struct.pack("<I", 0x12345678))
    assert controller.memory.read(START + 8, 4) == struct.pack("<I", 0x12340070)
    assert read(controller, flash_f4_f7.SR) == 0


@pytest.mark.parametrize(
    ("sector", "first", "size"),
    [(3, 0x18000, 0x8000), (4, 0x20000, 0x20000), (11, 0x1C0000, 0x40000)],
)
def test_sector_erase_leaves_the_neighbours(controller, sector, first, size):
    controller.memory.bytes[:] = 0
    unlock(controller)
    write(controller, flash_f4_f7.CR, SER | sector << 3 | STRT)
    erased = np.flatnonzero(controller.memory.bytes)
    assert (erased[0], erased[-1] + 1, len(erased)) == (first, first + size, size)


def test_there_is_no_sector_12(controller):
    controller.memory.bytes[:] = 0
    unlock(controller)
    write(controller, flash_f4_f7.CR, SER | 12 << 3 | STRT)
    assert read(controller, flash_f4_f7.SR) == WRPERR
    assert not controller.memory.bytes.any()


def test_write_protected_sector(controller):
    open_options(controller)
    write(controller, flash_f4_f7.OPTCR, read(controller, flash_f4_f7.OPTCR) & ~(1 << 16 + 1))
    controller.memory.bytes[:] = 0
    unlock(controller)
    for request in (SER | 1 << 3, MER):
        write(controller, flash_f4_f7.CR, request | STRT)
        assert read(controller, flash_f4_f7.SR) == WRPERR
        write(controller, flash_f4_f7.SR, WRPERR)
    assert not controller.memory.bytes.any()


def test_boot_address_is_an_option(controller):
    assert controller.boot_address == 0x00200000
    write(controller, flash_f4_f7.OPTCR1, 0x00402000)
    assert controller.boot_address == 0x00200000  # the options are locked
    open_options(controller)
    write(controller, flash_f4_f7.OPTCR1, 0x00402000)
    assert controller.boot_address == START


def test_stuck_controller_stays_busy_until_reset(controller):
    controller.stuck_busy = True
    unlock(controller)
    write(controller, flash_f4_f7.CR, PG | WORDS)
    controller.program(START, b"\0\0\0\0")
    assert read(controller, flash_f4_f7.SR) == BSY
    assert controller.memory.read(START, 4) == b"\xff\xff\xff\xff"
    controller.reset()
    assert read(controller, flash_f4_f7.SR) == 0


@pytest.fixture
def bench(new_bench):
    return new_bench(board="nucleo-f767zi")


def test_protected_sector_is_an_error_of_pyocd(bench):
    registers = bench.board.chip.flash.controller_base
    for key in OPTION_KEYS:
        bench.target.write32(registers + flash_f4_f7.OPTKEYR, key)
    options = bench.target.read32(registers + flash_f4_f7.OPTCR)
    bench.target.write32(registers + flash_f4_f7.OPTCR, options & ~(1 << 16))
    with pytest.raises(exceptions.FlashFailure):
        FlashLoader.program_binary_data(bench.session, START, b"protected")
    assert bench.target.read32(START) == 0xFFFFFFFF


def test_stores_by_firmware_follow_the_same_rules(bench, build_image):
    source = """
        #define FLASH(offset) REG(0x40023C00 + offset)
        volatile uint32_t error, first, second, narrow;
        int main(void) {
          volatile uint32_t *cell = (volatile uint32_t *)0x081C0000;
          *cell = 0x1234;
          error = FLASH(0x0C);
          FLASH(0x0C) = 0xF0;
          FLASH(0x04) = 0x45670123; FLASH(0x04) = 0xCDEF89AB;
          FLASH(0x10) = 0x201;
          *cell = 0xF0F01234;
          first = *cell;
          *cell = 0x0000FFFF;
          second = *cell;
          *(volatile uint16_t *)(cell + 2) = 0;
          narrow = FLASH(0x0C);
          return 0;
        }"""
    bench.flash(build_image(source, "nucleo-f767zi"))
    bench.run()
    assert bench.read("fault_record") == [0]
    assert bench.read("error") == [ERSERR]
    assert bench.read("first") == [0xF0F01234]
    assert bench.read("second") == [0x00001234]
    assert bench.target.read32(0x003C0000) == 0x00001234  # on the ITCM bus
    assert bench.read("narrow") == [PGPERR]
    assert bench.target.read32(0x081C0008) == 0xFFFFFFFF
