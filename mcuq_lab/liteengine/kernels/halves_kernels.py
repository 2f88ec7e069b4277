"""Kernels of the halves: packing, unpacking and tile functions, each specialised by itself."""

from __future__ import annotations

from functools import cache

from mcuq_lab.liteengine.kernels.halves_asm import halves_assembly
from mcuq_lab.liteengine.kernels.halves_tile import HalvesTile
from mcuq_lab.liteengine.kernels.specialise import (
    driven_kernel,
    kernel_header,
    prototype_header,
    specialised,
    tile_function,
)
from mcuq_lab.liteengine.packing.halves import HalvesPacking
from mcuq_lab.quantgraph import STORAGE_BITS
from mcuq_lab.sources import SourceFile

_PACK_HEADERS = ("le_halves.h", "le_halves_pack.h")


@cache
def halves_kernel(
    w_bits: int, a_bits: int, packing: HalvesPacking, tile: HalvesTile
) -> tuple[str, tuple[SourceFile, ...]]:
    """Name and files of a kernel, which is a table of three functions and their constants."""
    packer, pack_files = _packer(STORAGE_BITS[a_bits], packing)
    unpacker, unpack_files = ("0", ()) if packing.surplus else _unpacker(w_bits, packing)
    tiler, tile_files = _tiler(tile)
    kernel = f"le_conv2d_w{w_bits}a{a_bits}_halves{'x' if packing.toggle else ''}_{tile.name}"
    fields = {
        "pack": packer,
        "unpack": unpacker,
        "tile": tiler,
        "pixels": packing.pixels,
        "channels": packing.channels,
        "w_words": 2 if packing.bytes else 4,
        "a_storage": STORAGE_BITS[a_bits],
        "out_storage": tile.storage,
    }
    parts = tuple(part for part in (packer, unpacker, tiler) if part != "0")
    files = driven_kernel(kernel, "le_halves", "le_halves", fields, parts)
    return kernel, tuple(dict.fromkeys((*files, *pack_files, *unpack_files, *tile_files)))


def _packer(storage: int, packing: HalvesPacking) -> tuple[str, tuple[SourceFile, ...]]:
    """The function that packs a group of output pixels, by name, and its files."""
    toggle = "x" if packing.toggle else ""
    name = f"le_halves_pack_f{storage}_p{packing.pixels}s{packing.a_shift}{toggle}"
    name += "b" if packing.surplus else ""
    body = (
        f"le_halves_pack(group, pixel, in, pad, layer, {storage}, {packing.pixels}, "
        f"{packing.a_shift}, {int(packing.toggle)}, {int(packing.surplus)});"
    )
    parameters = (
        "uint32_t *group, uint32_t pixel, const uint8_t *in, const uint8_t *pad, "
        "const le_halves_layer *layer"
    )
    return name, specialised(name, parameters, body, _PACK_HEADERS)


def _unpacker(w_bits: int, packing: HalvesPacking) -> tuple[str, tuple[SourceFile, ...]]:
    """The function that unpacks weights, by name, and its files."""
    if packing.bytes:
        name = f"le_halves_unpack_w{w_bits}_b"
        body = f"le_halves_unpack_bytes(to, from, layer, {w_bits});"
    else:
        name = f"le_halves_unpack_w{w_bits}_q{packing.channels}t{packing.w_shift}"
        body = (
            f"le_halves_unpack(to, from, layer, {w_bits}, {packing.channels}, {packing.w_shift});"
        )
    parameters = "uint32_t *to, const uint8_t *from, const le_halves_layer *layer"
    return name, specialised(name, parameters, body, _PACK_HEADERS)


def _tiler(tile: HalvesTile) -> tuple[str, tuple[SourceFile, ...]]:
    """The tile function, in assembly and in C, by name, and its files."""
    name = f"le_halves_tile_{tile.name}"
    places = ", ".join(f"{{{field.low}, {field.bits}}}" for field in tile.fields)
    shape = (
        f"{{.pixels = {tile.pixels}, .channels = {tile.channels}, .bytes = {int(tile.bytes)},\n"
        f"        .surplus = {int(tile.surplus)}, .fields = {{{places}}},\n"
        f"        .out_bits = {tile.out_bits}, .pre_shift = {tile.pre_shift},\n"
        f"        .shift = {tile.shift}}}"
    )
    twin = f"static const le_halves_shape shape = {shape};\n    le_halves_tile(call, &shape);"
    function = tile_function(name, "le_halves", "halves_asm.py", halves_assembly(tile), twin)
    headers = tuple(kernel_header(header) for header in ("le_halves.h", "le_halves_tile.h"))
    prototype = f"LE_INTERNAL void {name}(le_halves_call *call)"
    header = prototype_header(name, "le_halves_tile.h", prototype)
    return name, (*headers, header, SourceFile(f"{name}.c", f'#include "{name}.h"\n\n{function}'))
