"""Images are built, measured, cached, and refused when they do not fit or break the contract."""

import dataclasses
import pickle

import pytest
from elftools.elf.elffile import ELFFile

from mcuq_lab.bench.firmware import build
from mcuq_lab.bench.mailbox import SIZE_BYTES
from mcuq_lab.board import load_board
from mcuq_lab.errors import BuildError, FitError

BOARD = load_board("nucleo_f412zg")
FLASH_BYTES = 1 << 20
RAM_BYTES = 256 << 10


def with_arena(tiny, arena_bytes):
    header = tiny.texts["header"].replace("MCUQ_ARENA_BYTES 64", f"MCUQ_ARENA_BYTES {arena_bytes}")
    return dataclasses.replace(tiny.make(header=header), arena_bytes=arena_bytes)


def with_ballast(tiny, ballast_bytes):
    """Zeros that are added to the sums, so that the image must carry them."""
    ballast = f"const uint8_t ballast[{ballast_bytes}] = {{1}};\nvoid layer_dot(void)"
    dot = tiny.texts["dot"].replace("void layer_dot(void)", ballast)
    dot = dot.replace("uint32_t sum = 0", "uint32_t sum = ballast[mcuq_arena[0] + 1]")
    return tiny.make(dot=dot)


def test_sizes_add_up(tiny, cache, tmp_path):
    firmware = build(tiny.sources, BOARD, cache=cache)
    sizes = firmware.sizes
    path = tmp_path / "image.elf"
    path.write_bytes(firmware.elf)
    with path.open("rb") as file:
        elf = ELFFile(file)
        flash = sum(segment["p_filesz"] for segment in elf.iter_segments("PT_LOAD"))
        ram = sum(
            section["sh_size"]
            for section in elf.iter_sections()
            if section["sh_flags"] & 2 and section["sh_addr"] >= 0x2000_0000
        )
    assert sizes.flash_total_bytes == flash
    assert sizes.flash_weights_bytes == tiny.sources.weights_bytes == 192
    assert sizes.flash_code_bytes == flash - 192
    assert sizes.sram_arena_bytes == 64
    assert sizes.sram_static_bytes + sizes.sram_arena_bytes + BOARD.stack_bytes == ram
    # What measuring itself needs of RAM: the mailbox and the arena's guard.
    assert sizes.sram_static_bytes == SIZE_BYTES + 32


def test_a_static_variable_is_counted(tiny, cache):
    kept = (
        "static uint8_t kept[100] = {1};\nvoid layer_add(void)\n{\n    ++kept[mcuq_arena[0] % 99];"
    )
    add = tiny.texts["add"].replace("void layer_add(void)\n{", kept)
    plain = build(tiny.sources, BOARD, cache=cache)
    more = build(tiny.make(add=add), BOARD, cache=cache)
    assert more.sizes.sram_static_bytes == plain.sizes.sram_static_bytes + 100
    assert more.sizes.flash_code_bytes >= plain.sizes.flash_code_bytes + 100


def test_model_numbers_come_from_the_image(tiny, cache):
    model = build(tiny.sources, BOARD, cache=cache).model
    assert dataclasses.astuple(model) == (24, 8, 64, 2, 0, 48)


def test_firmware_travels_between_processes(tiny, cache):
    firmware = build(tiny.sources, BOARD, cache=cache)
    again = pickle.loads(pickle.dumps(firmware))
    assert again.elf == firmware.elf
    assert again.address("mcuq_serve") == firmware.address("mcuq_serve")


def test_vectors_lie_at_the_start_of_flash(tiny, cache):
    firmware = build(tiny.sources, BOARD, cache=cache)
    first = firmware.image.segments[0]
    assert first.address == 0x0800_0000
    stack_top = int.from_bytes(first.data[0:4], "little")
    reset = int.from_bytes(first.data[4:8], "little")
    assert stack_top == 0x2000_0000 + BOARD.stack_bytes
    assert reset == firmware.address("mcuq_reset") | 1


def test_only_the_changed_layer_is_compiled(tiny, cache):
    assert len(build(tiny.sources, BOARD, cache=cache).compiled) == 7
    changed = tiny.make(add=tiny.texts["add"].replace("3u", "4u"))
    firmware = build(changed, BOARD, cache=cache)
    assert firmware.compiled == ("layer_add.c",)
    again = build(changed, BOARD, cache=cache)
    assert again.compiled == ()
    assert again.elf_sha256 == firmware.elf_sha256


def test_the_timed_call_does_not_move(tiny, cache):
    small = build(tiny.sources, BOARD, cache=cache)
    large = build(with_ballast(tiny, 5000), BOARD, cache=cache)
    assert small.address("mcuq_timed_call") == large.address("mcuq_timed_call")


def test_flash_overflow_is_exact(tiny, cache):
    fits = build(with_ballast(tiny, 100_000), BOARD, cache=cache)
    rest = fits.sizes.flash_total_bytes - 100_000
    build(with_ballast(tiny, FLASH_BYTES - rest), BOARD, cache=cache)
    with pytest.raises(FitError, match=r"flash by 4,000 bytes.*ballast") as error:
        build(with_ballast(tiny, FLASH_BYTES - rest + 4000), BOARD, cache=cache)
    assert (error.value.memory, error.value.overflow_bytes) == ("flash", 4000)
    assert "dot 192" in str(error.value)


def test_sram_overflow_is_exact(tiny, cache):
    # Stack, guard, mailbox, and one cycle count for each of the two layers.
    rest = BOARD.stack_bytes + 32 + SIZE_BYTES + 8
    build(with_arena(tiny, RAM_BYTES - rest), BOARD, cache=cache)
    with pytest.raises(FitError, match=r"SRAM by 8 bytes.*mcuq_arena") as error:
        build(with_arena(tiny, RAM_BYTES - rest + 8), BOARD, cache=cache)
    assert (error.value.memory, error.value.overflow_bytes) == ("sram", 8)
    with pytest.raises(FitError) as error:
        build(with_arena(tiny, 2 * RAM_BYTES), BOARD, cache=cache)
    assert error.value.overflow_bytes == RAM_BYTES + rest


def test_an_undefined_symbol_is_no_question_of_size(tiny, cache):
    model = tiny.texts["model"].replace("layer_add();", "layer_add(); layer_sub();")
    model = model.replace("static void copy", "void layer_sub(void);\nstatic void copy")
    with pytest.raises(BuildError, match="layer_sub"):
        build(tiny.make(model=model), BOARD, cache=cache)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("uint8_t mcuq_arena[MCUQ_ARENA_BYTES];", "uint8_t mcuq_arena[MCUQ_ARENA_BYTES] = {1};"),
        ("{layer_add, layer_dot}", "{layer_add}"),
    ],
)
def test_a_broken_contract_is_reported(tiny, cache, old, new):
    model = tiny.texts["model"].replace(old, new)
    header = tiny.texts["header"]
    if "{layer_add}" in new:
        header = header.replace("LAYER_COUNT 2", "LAYER_COUNT 1")
    with pytest.raises(BuildError, match="breaks the C contract"):
        build(tiny.make(model=model, header=header), BOARD, cache=cache)


def test_a_plan_that_differs_from_the_arena_is_reported(tiny, cache):
    with pytest.raises(BuildError, match="has 64 bytes, its plan says 60"):
        build(dataclasses.replace(tiny.sources, arena_bytes=60), BOARD, cache=cache)
