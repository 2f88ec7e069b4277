"""The flash controller of the STM32L4: double words, errors, options; alone and under firmware."""

import struct

import numpy as np
import pytest
from pyocd.core import exceptions
from pyocd.flash.loader import FlashLoader

from mcuq_lab.nucleosim.chip import load_chip
from mcuq_lab.nucleosim.engine.memory import HostMemory
from mcuq_lab.nucleosim.peripherals import flash_l4
from mcuq_lab.nucleosim.peripherals.flash_l4 import FlashControllerL4

START, FLASH = 0x08000000, 0x40022000
KEYS = (0x45670123, 0xCDEF89AB)
OPTION_KEYS = (0x08192A3B, 0x4C5D6E7F)
PG, PER, MER1, STRT, OPTSTRT, FSTPG = 1 << 0, 1 << 1, 1 << 2, 1 << 16, 1 << 17, 1 << 18
EOPIE, ERRIE, OPTLOCK, LOCK = 1 << 24, 1 << 25, 1 << 30, 1 << 31
EOP, OPERR, PROGERR, WRPERR, PGAERR, SIZERR = 1 << 0, 1 << 1, 1 << 3, 1 << 4, 1 << 5, 1 << 6
PGSERR, FASTERR, BSY = 1 << 7, 1 << 9, 1 << 16
ERASED = b"\xff" * 8


@pytest.fixture
def locked():
    flash = load_chip("nucleo-l432kc").flash
    return FlashControllerL4(flash, HostMemory(flash.start, flash.size_bytes, fill=0xFF))


@pytest.fixture
def controller(locked):
    for key in KEYS:
        write(locked, flash_l4.KEYR, key)
    return locked


def write(controller, register, value):
    controller.write(controller.flash.controller_base + register, 4, value)


def read(controller, register):
    return controller.read(controller.flash.controller_base + register, 4)


def store(controller, offset, *words):
    for index, word in enumerate(words):
        controller.program(START + offset + 4 * index, struct.pack("<I", word))


def held(controller, offset, size=8):
    return controller.memory.read(START + offset, size)


def clear(controller):
    write(controller, flash_l4.SR, 0xFFFFFFFF)
    assert read(controller, flash_l4.SR) == 0


def protect(controller, first_page, last_page):
    for key in OPTION_KEYS:
        write(controller, flash_l4.OPTKEYR, key)
    write(controller, flash_l4.WRP1AR, last_page << 16 | first_page)
    write(controller, flash_l4.CR, OPTSTRT)


def test_locked_until_both_keys(locked):
    assert read(locked, flash_l4.CR) == LOCK | OPTLOCK
    write(locked, flash_l4.CR, PG)
    assert read(locked, flash_l4.CR) == LOCK | OPTLOCK
    write(locked, flash_l4.OPTKEYR, OPTION_KEYS[0])  # not before LOCK is open: does not count
    for key in (*KEYS, *OPTION_KEYS):
        write(locked, flash_l4.KEYR if key in KEYS else flash_l4.OPTKEYR, key)
    assert read(locked, flash_l4.CR) == 0
    write(locked, flash_l4.CR, LOCK | OPTLOCK)
    assert read(locked, flash_l4.CR) == LOCK | OPTLOCK


def test_wrong_key_locks_until_reset(locked):
    for key in (KEYS[1], *KEYS):
        write(locked, flash_l4.KEYR, key)
    assert read(locked, flash_l4.CR) & LOCK
    locked.reset()
    for key in KEYS:
        write(locked, flash_l4.KEYR, key)
    assert not read(locked, flash_l4.CR) & LOCK


def test_double_word(controller):
    write(controller, flash_l4.CR, PG)
    store(controller, 16, 0x11223344, 0x55667788)
    assert held(controller, 16) == struct.pack("<II", 0x11223344, 0x55667788)
    assert read(controller, flash_l4.SR) == 0  # EOP is for those who enabled its interrupt
    assert controller.write_count == 1
    assert controller.take_dirty() == (16, 24)
    write(controller, flash_l4.CR, PG | EOPIE)
    store(controller, 24, 1, 2)
    assert read(controller, flash_l4.SR) == EOP


@pytest.mark.parametrize("end", ["PG off", "reset", "other place"])
def test_half_a_double_word_is_none(controller, end):
    write(controller, flash_l4.CR, PG)
    store(controller, 8, 0x12345678)
    if end == "PG off":
        write(controller, flash_l4.CR, 0)
    elif end == "reset":
        controller.reset()
    else:
        store(controller, 20, 1)
        assert read(controller, flash_l4.SR) == PGAERR
    assert held(controller, 8) == ERASED
    assert held(controller, 16) == ERASED
    assert controller.write_count == 0


def test_second_programming_is_refused_unless_it_is_all_zeros(controller):
    write(controller, flash_l4.CR, PG)
    store(controller, 0, 0x0F0F0F0F, 0xFFFFFFFF)
    store(controller, 0, 0x0F0F0F0F, 0x00000001)
    assert read(controller, flash_l4.SR) == PROGERR
    assert held(controller, 0) == struct.pack("<II", 0x0F0F0F0F, 0xFFFFFFFF)
    clear(controller)
    store(controller, 0, 0, 0)
    assert read(controller, flash_l4.SR) == 0
    assert held(controller, 0) == bytes(8)


def test_errors(controller):
    store(controller, 0, 0)
    assert read(controller, flash_l4.SR) == PGSERR  # PG is not set
    clear(controller)
    write(controller, flash_l4.CR, PG | PER)
    store(controller, 0, 0)
    assert read(controller, flash_l4.SR) == PGSERR
    clear(controller)
    write(controller, flash_l4.CR, PG | ERRIE)
    store(controller, 4, 0)
    assert read(controller, flash_l4.SR) == PGAERR | OPERR  # not the first word of a double word
    clear(controller)
    controller.program(START, b"\0\0")
    assert read(controller, flash_l4.SR) == SIZERR | OPERR
    store(controller, 0, 0, 0)  # errors first have to be cleared
    assert read(controller, flash_l4.SR) == SIZERR | OPERR | PGSERR
    write(controller, flash_l4.CR, PER | STRT)
    assert held(controller, 0) == ERASED
    assert controller.erase_count == controller.write_count == 0
    clear(controller)
    write(controller, flash_l4.CR, LOCK)
    store(controller, 0, 0)
    assert read(controller, flash_l4.SR) == PGSERR


def test_page_erase_leaves_the_neighbours(controller):
    controller.memory.bytes[:] = 0
    write(controller, flash_l4.CR, PER | 5 << 3 | STRT)
    erased = np.flatnonzero(controller.memory.bytes == 0xFF)
    assert (erased[0], erased[-1] + 1, len(erased)) == (5 * 0x800, 6 * 0x800, 0x800)
    assert read(controller, flash_l4.CR) == OPTLOCK | PER | 5 << 3


@pytest.mark.parametrize("selection", [PER | PG, PER | MER1, MER1 | FSTPG])
def test_erase_of_two_minds(controller, selection):
    controller.memory.bytes[:] = 0
    write(controller, flash_l4.CR, selection | STRT)
    assert read(controller, flash_l4.SR) == PGSERR
    assert not controller.memory.bytes.any()


def test_mass_erase(controller):
    controller.memory.bytes[:] = 0
    write(controller, flash_l4.CR, MER1 | STRT)
    assert controller.memory.bytes.all()
    assert controller.erase_count == 128


def test_write_protection(controller):
    controller.memory.bytes[:] = 0
    protect(controller, 3, 4)
    for page, error in ((2, 0), (3, WRPERR), (4, WRPERR), (5, 0)):
        write(controller, flash_l4.CR, PER | page << 3 | STRT)
        assert read(controller, flash_l4.SR) == error
        assert bool(controller.memory.bytes[page * 0x800]) is not bool(error)
        clear(controller)
    write(controller, flash_l4.CR, MER1 | STRT)
    assert read(controller, flash_l4.SR) == WRPERR
    clear(controller)
    write(controller, flash_l4.CR, PG)
    store(controller, 4 * 0x800, 0, 0)
    assert read(controller, flash_l4.SR) == WRPERR | PGSERR


def test_options_last_only_if_they_were_programmed(controller):
    for key in OPTION_KEYS:
        write(controller, flash_l4.OPTKEYR, key)
    before = read(controller, flash_l4.WRP1BR)
    write(controller, flash_l4.WRP1BR, 0x00070000)
    write(controller, flash_l4.OPTR, 0)
    assert read(controller, flash_l4.OPTR) == 0xAA  # the read protection level stays at 0
    write(controller, flash_l4.CR, PER | STRT)
    assert read(controller, flash_l4.SR) == 0
    controller.reset()
    assert read(controller, flash_l4.WRP1BR) == before
    write(controller, flash_l4.WRP1BR, 0)  # locked again
    assert read(controller, flash_l4.WRP1BR) == before


def test_fast_programming_of_a_row(controller):
    write(controller, flash_l4.CR, FSTPG)
    store(controller, 0, 0)
    assert read(controller, flash_l4.SR) == PGSERR  # needs a mass erase first
    clear(controller)
    write(controller, flash_l4.CR, MER1 | STRT)
    write(controller, flash_l4.CR, FSTPG | EOPIE)
    store(controller, 256, *range(64))
    assert held(controller, 256, 256) == struct.pack("<64I", *range(64))
    assert read(controller, flash_l4.SR) == EOP
    assert controller.write_count == 32
    clear(controller)
    store(controller, 512, 1, 2)
    store(controller, 528, 3)
    assert read(controller, flash_l4.SR) == PGAERR | FASTERR


def test_cache_is_reset_only_while_it_is_off(controller):
    assert read(controller, flash_l4.ACR) == 0x600
    write(controller, flash_l4.ACR, 0x1E04)
    assert read(controller, flash_l4.ACR) == 0x604
    write(controller, flash_l4.ACR, 4)
    write(controller, flash_l4.ACR, 0x1804)
    assert read(controller, flash_l4.ACR) == 0x1804
    assert controller.wait_states == 4


def test_power_down_has_a_lock_of_its_own(controller):
    write(controller, flash_l4.ACR, 0x2600)
    assert read(controller, flash_l4.ACR) == 0x600
    for key in (0x04152637, 0xFAFBFCFD):
        write(controller, flash_l4.PDKEYR, key)
    write(controller, flash_l4.ACR, 0x2600)
    assert read(controller, flash_l4.ACR) == 0x2600


def test_stuck_controller_stays_busy_until_reset(controller):
    controller.stuck_busy = True
    write(controller, flash_l4.CR, PG)
    store(controller, 0, 0)
    assert read(controller, flash_l4.SR) == 0  # programming starts with the second word
    store(controller, 4, 0)
    assert read(controller, flash_l4.SR) == BSY
    store(controller, 8, 0, 0)
    assert held(controller, 0, 16) == 2 * ERASED
    controller.reset()
    assert read(controller, flash_l4.SR) == 0


FIRMWARE = """
    #define FLASH(offset) REG(0x40022000 + offset)
    #define PAGE 0x0803F800u
    volatile uint32_t errors[6], first[2], second[2], again[2], multiple[4];
    static uint32_t take_errors(void) {
      uint32_t flags = FLASH(0x10);
      FLASH(0x10) = flags;
      return flags;
    }
    #define STRD(at, low, high) \\
      __asm volatile("strd %1, %2, [%0]" :: "r"(at), "r"(low), "r"(high) : "memory")
    int main(void) {
      volatile uint32_t *cell = (volatile uint32_t *)PAGE;
      cell[0] = 0x1234;
      errors[0] = take_errors();
      FLASH(0x08) = 0x45670123; FLASH(0x08) = 0xCDEF89AB;
      FLASH(0x14) = 1;
      cell[0] = 0x11111111; cell[1] = 0x22222222;
      first[0] = cell[0]; first[1] = cell[1];
      errors[1] = take_errors();
      cell[0] = 0x01010101; cell[1] = 0;
      again[0] = cell[0]; again[1] = cell[1];
      errors[2] = take_errors();
      STRD(PAGE + 8, 0x33333333, 0x44444444);
      second[0] = cell[2]; second[1] = cell[3];
      errors[3] = take_errors();
      STRD(PAGE + 8, 0x33333333, 0x04444444);
      second[1] = cell[3];
      errors[4] = take_errors();
      uint32_t at = PAGE + 0x10;
      __asm volatile(
          "mov r1, #0x0F000000\\n mov r2, #3\\n mov r3, #5\\n mov r4, #7\\n stm %0!, {r1-r4}\\n"
          : "+r"(at) :: "r1", "r2", "r3", "r4", "memory");
      for (int i = 0; i < 4; i++) multiple[i] = cell[4 + i];
      *(volatile uint16_t *)(PAGE + 0x20) = 1;
      errors[5] = take_errors();
      return 0;
    }"""


def test_pyocd_says_what_is_write_protected(new_bench):
    bench = new_bench(board="nucleo-l432kc")
    for register, value in (
        *((flash_l4.KEYR, key) for key in KEYS),
        *((flash_l4.OPTKEYR, key) for key in OPTION_KEYS),
        (flash_l4.WRP1AR, 2 << 16 | 2),
        (flash_l4.CR, OPTSTRT),
    ):
        bench.target.write32(FLASH + register, value)
    with pytest.raises(exceptions.FlashFailure) as error:
        FlashLoader.program_binary_data(bench.session, START + 0x1000, b"protected")
    assert error.value.address == START + 0x1000
    FlashLoader.program_binary_data(bench.session, START + 0x1800, b"open")
    assert bytes(bench.target.read_memory_block8(START + 0x1800, 4)) == b"open"


def test_stores_by_firmware_follow_the_same_rules(new_bench, build_image):
    bench = new_bench(board="nucleo-l432kc")
    bench.flash(build_image(FIRMWARE, "nucleo-l432kc"))
    bench.run()
    assert bench.read("errors", 6) == [PGSERR, 0, PROGERR, 0, PROGERR, SIZERR]
    assert bench.read("first", 2) == bench.read("again", 2) == [0x11111111, 0x22222222]
    assert bench.read("second", 2) == [0x33333333, 0x44444444]
    assert bench.read("multiple", 4) == [0x0F000000, 3, 5, 7]
    assert bench.target.read32(0x0803F820) == 0xFFFFFFFF
