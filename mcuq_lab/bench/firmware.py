"""A network's sources to a measurable image: start-up, harness, engine, weights, linked."""

from __future__ import annotations

import functools
import hashlib
import re
import struct
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mcuq_lab.bench.image import Image, read_image
from mcuq_lab.bench.memory_map import MemoryMap, linker_script, memory_map
from mcuq_lab.bench.objects import Objects, compile_objects, run_tool
from mcuq_lab.bench.toolchain import BuildFlags, Toolchain, find_toolchain, machine_arguments
from mcuq_lab.board import BOARDS_DIR, Board
from mcuq_lab.content_cache import ContentCache, content_key, user_cache
from mcuq_lab.errors import BuildError, FitError
from mcuq_lab.measurement import ImageSizes
from mcuq_lab.sources import SourceFile, Sources

_HARNESS_FILES = (
    "mcuq_boot.S",
    "mcuq_harness.c",
    "mcuq_harness.h",
    "mcuq_mailbox.h",
    "mcuq_memory.c",
    "mcuq_model_info.c",
)
_LINK_TIMEOUT_S = 120.0
_OVERFLOW = re.compile(r"will not fit in region|overflowed by \d+ bytes")
_SHOWN = 5


@dataclass(frozen=True)
class ModelInfo:
    """The numbers of the network's model.h, as the image carries them."""

    input_bytes: int
    output_bytes: int
    arena_bytes: int
    layer_count: int
    input_offset: int
    output_offset: int


@dataclass(frozen=True, eq=False)
class Firmware:
    """An image that is ready to be flashed.

    Attributes:
        elf: the ELF file; elf_sha256 its digest.
        board: the board that it is linked for.
        toolchain, flags: what made it, `flags` as text.
        image: symbols, segments and sections of the ELF file.
        memory: the memory map that it is linked against.
        model: sizes of the network's input, output and arena.
        sizes: bytes by purpose.
        compiled: files that had to be compiled; the others came from the cache.
        seconds: wall time of `compile` and `link`.
    """

    elf: bytes
    elf_sha256: str
    board: Board
    toolchain: Toolchain
    flags: str
    image: Image
    memory: MemoryMap
    model: ModelInfo
    sizes: ImageSizes
    compiled: tuple[str, ...]
    seconds: Mapping[str, float]

    def address(self, symbol: str) -> int:
        """Address of a symbol of the harness or the network."""
        return self.image.symbols[symbol].address


def build(
    sources: Sources,
    board: Board,
    toolchain: Toolchain | None = None,
    flags: BuildFlags | None = None,
    *,
    cache: ContentCache | None = None,
) -> Firmware:
    """Compiles and links a network for a board.

    Args:
        sources: a network that keeps the C contract (see `mcuq_lab.sources`).
        board: whose core, memory map and stack size to use.
        toolchain: default: arm-none-eabi-gcc on PATH.
        flags: default: `BuildFlags()`.
        cache: where objects and images are kept; default: the user's.

    Raises:
        BuildError: no toolchain, or it refuses the sources, or they break the contract.
        FitError: the image needs more flash or RAM than the board has.
        ConfigError: pyOCD does not know the board's memory map.
    """
    toolchain = toolchain or find_toolchain()
    flags = flags or BuildFlags()
    cache = cache or user_cache()
    memory = memory_map(board)
    arguments = flags.arguments(board)
    objects = compile_objects(toolchain, [*sources.files, *_harness()], arguments, cache)
    started = time.perf_counter()
    elf = _link(toolchain, board, memory, objects, cache)
    if elf is None:
        roomy = _link(toolchain, board, memory.roomy(), objects, cache)
        if roomy is None:
            raise BuildError(f"{sources.model} {sources.policy}: its image is beyond all bounds.")
        _check_fit(sources, read_image(roomy), memory)
        raise BuildError(f"The linker found no room for {sources.model}, though it fits: a bug.")
    image = read_image(elf)
    _check_contract(sources, image)
    model = ModelInfo(*struct.unpack("<6I", image.read("mcuq_model_info")))
    _check_fit(sources, image, memory)
    return Firmware(
        elf=elf,
        elf_sha256=hashlib.sha256(elf).hexdigest(),
        board=board,
        toolchain=toolchain,
        flags=" ".join(arguments),
        image=image,
        memory=memory,
        model=model,
        sizes=_sizes(sources, image, memory),
        compiled=objects.compiled,
        seconds={"compile": objects.seconds, "link": time.perf_counter() - started},
    )


@functools.cache
def _harness() -> tuple[SourceFile, ...]:
    directory = BOARDS_DIR / "common"
    return tuple(SourceFile(name, (directory / name).read_text()) for name in _HARNESS_FILES)


def _link(
    toolchain: Toolchain, board: Board, memory: MemoryMap, objects: Objects, cache: ContentCache
) -> bytes | None:
    """The linked ELF file, or None if a memory region overflows."""
    script = linker_script(memory, board.stack_bytes)
    arguments = (
        *machine_arguments(board),
        "-nostdlib",
        "-nostartfiles",
        "-Wl,--gc-sections",
        "-Wl,--build-id=none",
        "-Wl,--fatal-warnings",
    )
    key = content_key("image", toolchain.banner, script, *arguments, *objects.keys)
    found = cache.find(key)
    if found is not None:
        return found.read_bytes()
    with tempfile.TemporaryDirectory(prefix="mcuq-link-") as name:
        directory = Path(name)
        (directory / "image.ld").write_text(script)
        made = directory / "image.elf"
        command = [str(toolchain.path), *arguments, "-Wl,-T,image.ld"]
        command += [*map(str, objects.paths), "-lgcc", "-o", str(made)]
        try:
            run_tool(command, directory, "link the image", _LINK_TIMEOUT_S)
        except BuildError as error:
            if _OVERFLOW.search(str(error)):
                return None
            raise
        return cache.store(key, made).read_bytes()


def _check_contract(sources: Sources, image: Image) -> None:
    what = f"{sources.engine}'s {sources.model} {sources.policy}"
    arena = image.symbols.get("mcuq_arena")
    if arena is None or arena.address != image.sections.get(".arena", (0, 0))[0]:
        raise BuildError(
            f"{what} breaks the C contract: mcuq_arena must be one uninitialised array, aligned "
            f"to 8 bytes."
        )
    if arena.size_bytes != sources.arena_bytes:
        raise BuildError(
            f"{what} breaks the C contract: mcuq_arena has {arena.size_bytes} bytes, its plan "
            f"says {sources.arena_bytes}."
        )
    layers = image.symbols["mcuq_layers"].size_bytes // 4
    if layers != len(sources.layers):
        raise BuildError(
            f"{what} breaks the C contract: mcuq_layers has {layers} entries, but "
            f"{len(sources.layers)} layers are described."
        )


def _flash_bytes(image: Image, memory: MemoryMap) -> int:
    return image.flash_end - memory.flash.start


def _ram_bytes(image: Image, memory: MemoryMap) -> int:
    return image.symbols["mcuq_free_start"].address - memory.ram.start


def _sizes(sources: Sources, image: Image, memory: MemoryMap) -> ImageSizes:
    total = _flash_bytes(image, memory)
    stack = image.sections[".stack"][1]
    return ImageSizes(
        flash_code_bytes=total - sources.weights_bytes,
        flash_weights_bytes=sources.weights_bytes,
        flash_total_bytes=total,
        sram_static_bytes=_ram_bytes(image, memory) - stack - sources.arena_bytes,
        sram_arena_bytes=sources.arena_bytes,
    )


def _check_fit(sources: Sources, image: Image, memory: MemoryMap) -> None:
    what = f"{sources.model} {sources.policy} ({sources.engine})"
    flash_bytes = _flash_bytes(image, memory)
    if flash_bytes > memory.flash.length_bytes:
        overflow = flash_bytes - memory.flash.length_bytes
        largest = image.largest_symbols(memory.roomy().flash, _SHOWN)
        raise FitError(
            f"{what} does not fit flash by {overflow:,} bytes: {flash_bytes:,} of "
            f"{memory.flash.length_bytes:,}. Largest symbols: {_listed(largest)}; most weights: "
            f"{_listed(_largest_layers(sources, 'weights_bytes'))}. Lower those layers' weight "
            f"bits.",
            memory="flash",
            overflow_bytes=overflow,
        )
    # A profile leaves one count a layer in free RAM.
    counts = 4 * max(len(sources.layers), 1)
    ram_bytes = _ram_bytes(image, memory) + counts
    if ram_bytes > memory.ram.length_bytes:
        overflow = ram_bytes - memory.ram.length_bytes
        largest = image.largest_symbols(memory.roomy().ram, _SHOWN)
        raise FitError(
            f"{what} does not fit SRAM by {overflow:,} bytes: {ram_bytes:,} of "
            f"{memory.ram.length_bytes:,}, of them arena {sources.arena_bytes:,} (scratch "
            f"{sources.scratch_bytes:,}), stack {image.sections['.stack'][1]:,}, cycle counts "
            f"{counts:,}. Largest symbols: {_listed(largest)}; most scratch: "
            f"{_listed(_largest_layers(sources, 'scratch_bytes'))}. Lower activation bits.",
            memory="sram",
            overflow_bytes=overflow,
        )


def _largest_layers(sources: Sources, attribute: str) -> list[tuple[str, int]]:
    layers = [(layer.name, getattr(layer, attribute)) for layer in sources.layers]
    return sorted((item for item in layers if item[1]), key=lambda item: -item[1])[:_SHOWN]


def _listed(items: list[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {size:,}" for name, size in items) or "none"
