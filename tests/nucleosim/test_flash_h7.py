"""The flash controller of the STM32H7: two banks, flash words of 32 bytes, pyOCD's algorithm."""

import os
import struct

import numpy as np
import pytest
from pyocd.flash.loader import FlashLoader

from mcuq_lab.nucleosim import Faults
from mcuq_lab.nucleosim.chip import load_chip
from mcuq_lab.nucleosim.engine.memory import HostMemory
from mcuq_lab.nucleosim.peripherals import flash_h7
from mcuq_lab.nucleosim.peripherals.flash_h7 import BANK_2, FlashControllerH7

START, BANK_BYTES, SECTOR_BYTES = 0x08000000, 0x100000, 0x20000
KEYS, OPTION_KEYS = (0x45670123, 0xCDEF89AB), (0x08192A3B, 0x4C5D6E7F)
LOCK, PG, SER, BER, FW, START_BIT = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 6, 1 << 7
BSY, WBNE, QW, EOP = 1 << 0, 1 << 1, 1 << 2, 1 << 16
WRPERR, PGSERR, STRBERR, INCERR = 1 << 17, 1 << 18, 1 << 19, 1 << 21
WORD = bytes(range(100, 132))
ERASED = b"\xff" * 32


@pytest.fixture
def controller():
    flash = load_chip("nucleo-h743zi").flash
    return FlashControllerH7(flash, HostMemory(flash.start, flash.size_bytes, fill=0xFF))


def write(controller, register, value):
    controller.write(controller.flash.controller_base + register, 4, value)


def read(controller, register):
    return controller.read(controller.flash.controller_base + register, 4)


def unlock(controller, bank=0):
    for key in KEYS:
        write(controller, flash_h7.KEYR + bank, key)


def test_reset_values(controller):
    assert read(controller, flash_h7.ACR) == 0x37
    assert controller.wait_states == 7
    assert read(controller, flash_h7.CR) == read(controller, flash_h7.CR + BANK_2) == 0x31
    assert controller.boot_address == START


def test_each_bank_has_its_lock(controller):
    unlock(controller, BANK_2)
    write(controller, flash_h7.CR, PG)
    write(controller, flash_h7.CR + BANK_2, PG)
    assert read(controller, flash_h7.CR) == 0x31
    assert read(controller, flash_h7.CR + BANK_2) == PG
    write(controller, flash_h7.KEYR, KEYS[1])  # the wrong one first: locked until reset
    unlock(controller)
    assert read(controller, flash_h7.CR) & LOCK


def test_eight_words_make_a_flash_word(controller):
    unlock(controller)
    write(controller, flash_h7.CR, PG)
    controller.program(START + 64, WORD[:28])
    assert read(controller, flash_h7.SR) == WBNE
    assert controller.write_count == 0
    controller.program(START + 64 + 28, WORD[28:])
    assert read(controller, flash_h7.SR) == EOP
    assert controller.memory.read(START + 64, 32) == WORD
    assert controller.write_count == 1
    assert controller.take_dirty() == (64, 96)


def test_order_within_the_flash_word_does_not_matter(controller):
    unlock(controller)
    write(controller, flash_h7.CR, PG)
    for at in (28, 0, 12, 4, 24, 8, 16, 20):
        controller.program(START + at, WORD[at : at + 4])
    assert controller.memory.read(START, 32) == WORD


def test_forced_write_fills_up_with_ones(controller):
    unlock(controller)
    write(controller, flash_h7.CR, PG)
    controller.program(START, WORD[:4])
    write(controller, flash_h7.CR, PG | FW)
    assert read(controller, flash_h7.SR) == EOP
    assert read(controller, flash_h7.CR) == PG
    assert controller.memory.read(START, 32) == WORD[:4] + ERASED[4:]


def test_another_flash_word_before_the_end_is_inconsistent(controller):
    unlock(controller)
    write(controller, flash_h7.CR, PG)
    controller.program(START, WORD[:16])
    controller.program(START + 32, WORD[:4])
    assert read(controller, flash_h7.SR) == INCERR
    assert controller.memory.read(START, 64) == ERASED * 2
    write(controller, flash_h7.CCR, INCERR)
    assert read(controller, flash_h7.SR) == 0


def test_storing_a_byte_twice_is_a_strobe_error(controller):
    unlock(controller)
    write(controller, flash_h7.CR, PG)
    controller.program(START, WORD[:4])
    controller.program(START, b"\0\0\0\0")
    assert read(controller, flash_h7.SR) == STRBERR | WBNE
    controller.program(START + 4, WORD[4:])
    assert controller.memory.read(START, 32) == WORD


def test_store_without_pg_is_a_sequence_error(controller):
    controller.program(START + BANK_BYTES, WORD)
    assert read(controller, flash_h7.SR + BANK_2) == PGSERR
    assert read(controller, flash_h7.SR) == 0
    unlock(controller)
    write(controller, flash_h7.CR, START_BIT)  # to erase nothing
    assert read(controller, flash_h7.SR) == PGSERR
    assert controller.memory.read(START + BANK_BYTES, 32) == ERASED


def test_programming_only_clears_bits(controller):
    controller.memory.write(START, bytes([0x0F] * 32))
    unlock(controller)
    write(controller, flash_h7.CR, PG)
    controller.program(START, bytes([0x3C] * 32))
    assert controller.memory.read(START, 32) == bytes([0x0C] * 32)


def test_reset_gives_up_an_unfinished_word(controller):
    unlock(controller)
    write(controller, flash_h7.CR, PG)
    controller.program(START, WORD[:8])
    controller.reset()
    assert controller.memory.read(START, 32) == ERASED
    assert read(controller, flash_h7.SR) == 0


def test_sector_and_bank_erase(controller):
    controller.memory.bytes[:] = 0
    unlock(controller, BANK_2)
    write(controller, flash_h7.CR + BANK_2, SER | 3 << 8 | START_BIT)
    erased = np.flatnonzero(controller.memory.bytes)
    first = BANK_BYTES + 3 * SECTOR_BYTES
    assert (erased[0], erased[-1] + 1, len(erased)) == (first, first + SECTOR_BYTES, SECTOR_BYTES)
    assert read(controller, flash_h7.SR + BANK_2) == EOP
    write(controller, flash_h7.CR + BANK_2, BER | START_BIT)
    assert controller.memory.bytes[BANK_BYTES:].all()
    assert not controller.memory.bytes[:BANK_BYTES].any()
    assert controller.erase_count == 1 + 8


def open_options(controller):
    for key in OPTION_KEYS:
        write(controller, flash_h7.OPTKEYR, key)


def test_write_protected_sector(controller):
    open_options(controller)
    write(controller, flash_h7.WPSN_PRG, 0xFF & ~(1 << 2))
    assert read(controller, flash_h7.WPSN_CUR) == 0xFF
    write(controller, flash_h7.OPTCR, 1 << 1)
    assert read(controller, flash_h7.WPSN_CUR) == 0xFB
    controller.memory.bytes[:] = 0xF0
    unlock(controller)
    for request in (SER | 2 << 8, BER):
        write(controller, flash_h7.CR, request | START_BIT)
        assert read(controller, flash_h7.SR) == WRPERR
        write(controller, flash_h7.CCR, WRPERR)
    write(controller, flash_h7.CR, PG)
    controller.program(START + 2 * SECTOR_BYTES, bytes(32))
    assert read(controller, flash_h7.SR) == WRPERR
    assert set(controller.memory.bytes.tobytes()) == {0xF0}


def test_boot_address_is_an_option(controller):
    write(controller, flash_h7.BOOT_PRG, 0x1FF02400)
    assert read(controller, flash_h7.BOOT_PRG) == 0x1FF00800  # the options are locked
    open_options(controller)
    write(controller, flash_h7.BOOT_PRG, 0x1FF02400)
    assert controller.boot_address == START
    write(controller, flash_h7.OPTCR, 1 << 1)
    assert controller.boot_address == 0x24000000


def test_stuck_controller_stays_busy_until_reset(controller):
    controller.stuck_busy = True
    unlock(controller)
    write(controller, flash_h7.CR, PG)
    controller.program(START, WORD)
    assert read(controller, flash_h7.SR) == BSY | QW
    assert controller.memory.read(START, 32) == ERASED
    write(controller, flash_h7.CR, LOCK)  # not while it is busy
    assert read(controller, flash_h7.CR) == PG
    controller.reset()
    assert read(controller, flash_h7.SR) == 0


@pytest.fixture
def bench(new_bench):
    return new_bench(board="nucleo-h743zi")


def test_pyocd_programs_across_the_banks(bench):
    data = os.urandom(3 * SECTOR_BYTES)
    start = START + BANK_BYTES - SECTOR_BYTES - 0x400
    FlashLoader.program_binary_data(bench.session, start, data)
    assert bytes(bench.target.read_memory_block8(start, len(data))) == data
    assert bench.board.flash_image()[start - START + len(data) :][:0x400] == b"\xff" * 0x400


def test_pyocds_algorithm_erases_the_next_sector_too(bench):
    """Its routine for one sector loops to the address behind it, inclusively."""
    for sector in (1, 2):
        FlashLoader.program_binary_data(bench.session, START + sector * SECTOR_BYTES, WORD)
    assert bench.board.flash_erase_count == 4
    FlashLoader.program_binary_data(bench.session, START, WORD)
    assert bench.target.read_memory_block8(START, 32) == list(WORD)
    assert bench.target.read_memory_block8(START + SECTOR_BYTES, 32) == list(ERASED)
    assert bench.target.read_memory_block8(START + 2 * SECTOR_BYTES, 32) == list(WORD)


def test_protected_sector_is_not_changed_by_pyocd(bench):
    registers = bench.board.chip.flash.controller_base
    for key in OPTION_KEYS:
        bench.target.write32(registers + flash_h7.OPTKEYR, key)
    bench.target.write32(registers + flash_h7.WPSN_PRG, 0xFE)
    bench.target.write32(registers + flash_h7.OPTCR, 1 << 1)
    FlashLoader.program_binary_data(bench.session, START, WORD)
    assert bench.target.read32(START) == 0xFFFFFFFF


def test_operation_that_fails_goes_unnoticed_by_pyocd(bench):
    """Its routines look at no error flag: only reading back tells."""
    bench.board.inject(Faults(flash_error_after=0))
    FlashLoader.program_binary_data(bench.session, START, WORD)
    assert set(bench.board.flash_image()) == {0xFF}
    sr = bench.target.read32(bench.board.chip.flash.controller_base + flash_h7.SR)
    assert sr & WRPERR


def test_stores_by_firmware_follow_the_same_rules(bench, build_image):
    source = """
        #define FLASH(offset) REG(0x52002000 + offset)
        volatile uint32_t refused, error, partly, inconsistent, again, doubles;
        int main(void) {
          volatile uint32_t *cell = (volatile uint32_t *)0x08180000;
          *cell = 0x1234;
          refused = *cell;
          error = FLASH(0x110);
          FLASH(0x114) = 0x0FEF0000;
          FLASH(0x104) = 0x45670123; FLASH(0x104) = 0xCDEF89AB;
          FLASH(0x10C) = 0x32;
          for (int i = 0; i < 7; i++) cell[i] = 0xF0F00000 + i;
          partly = FLASH(0x110);
          cell[8] = 1;
          inconsistent = FLASH(0x110);
          FLASH(0x114) = 0x0FEF0000;
          for (int i = 0; i < 8; i++) cell[i] = 0xF0F00000 + i;
          for (int i = 0; i < 8; i++) cell[i] = 0x0FF0000F;
          again = FLASH(0x110);
          CPACR = 0xFu << 20;
          __asm volatile("dsb\\nisb\\n"
              "vmov.f64 d0, #-2.0\\n vmov.f64 d1, d0\\n vmov.f64 d2, d0\\n vmov.f64 d3, d0\\n"
              "vstm %0, {d0-d3}\\n dsb\\n" :: "r"(cell + 16) : "memory", "d0", "d1", "d2", "d3");
          doubles = FLASH(0x110);
          return 0;
        }"""
    bench.flash(build_image(source, "nucleo-h743zi"))
    bench.run()
    assert bench.read("fault_record") == [0]
    assert bench.read("refused") == [0xFFFFFFFF]
    assert bench.read("error") == [PGSERR]
    assert bench.read("partly") == [WBNE]
    assert bench.read("inconsistent") == [INCERR]
    assert bench.read("again") == [EOP]
    words = list(bench.target.read_memory_block32(0x08180000, 8))
    assert words == [(0xF0F00000 + i) & 0x0FF0000F for i in range(8)]
    assert bench.read("doubles") == [EOP]
    doubles = bytes(bench.target.read_memory_block8(0x08180040, 32))
    assert struct.unpack("<4d", doubles) == (-2.0,) * 4
