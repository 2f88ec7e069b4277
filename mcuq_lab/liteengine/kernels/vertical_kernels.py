"""The C files of Winograd's rows: one function each for packing, unpacking, start values, tiles."""

from __future__ import annotations

from functools import cache

from mcuq_lab.liteengine.kernels.row_kernels import (
    Files,
    KernelKey,
    filter_rows,
    pack_function,
)
from mcuq_lab.liteengine.kernels.specialise import (
    driven_kernel,
    includes,
    kernel_header,
    prototype_header,
    specialised,
    tile_function,
)
from mcuq_lab.liteengine.kernels.vertical_asm import VerticalTile, vertical_assembly
from mcuq_lab.liteengine.packing.vertical_rows import weights_in_pairs
from mcuq_lab.sources import SourceFile

_UNPACK_HEADERS = ("le_row_polynomial.h", "le_row_pack.h", "le_row_unpack.h")
_HEADERS = (*_UNPACK_HEADERS, "le_vertical.h", "le_vertical_pack.h")


@cache
def vertical_kernel(key: KernelKey, tile: VerticalTile, even: bool) -> tuple[str, Files]:
    """Name and files of a kernel; `even`: 4-bit weights of two channels are unpacked at a time."""
    packing = key.packing
    packer, pack_files = pack_function(key)
    unpacker, unpack_files = _unpacker(key, tile.planes, even)
    starter, start_files = _starter(key)
    tiler, tile_files = _tiler(tile)
    few = f"_c{key.few}" if key.few else ""
    kernel = f"le_conv2d_w{key.w_bits}a{key.a_bits}_vertical_{tile.name}{few}{'e' * even}"
    kernel += "_o" * key.ordered
    fields = {
        "pack": packer,
        "unpack": unpacker,
        "start": starter,
        "tile": tiler,
        "flush": f"{tiler}_flush",
        "pixels": packing.pixels,
        "field_bits": packing.field_bits,
        "a_storage": key.storage,
        "out_bits": tile.row.out_bits,
    }
    headers = (*_UNPACK_HEADERS, "le_row_state.h", "le_vertical_pack.h")
    files = driven_kernel(
        kernel,
        "le_vertical",
        "le_row",
        fields,
        (packer, unpacker, starter, tiler),
        headers,
        table="le_vertical_kernel",
    )
    functions = (*pack_files, *unpack_files, *start_files, *tile_files)
    return kernel, tuple(dict.fromkeys((*files, *functions)))


def _unpacker(key: KernelKey, planes: int, even: bool) -> tuple[str, Files]:
    """The function that unpacks weights, by name, and its files."""
    s = key.packing.field_bits
    name = f"le_vertical_unpack_w{key.w_bits}_s{s}n{planes}{'e' * even}"
    rows, files = filter_rows(key.w_bits, s)
    group = 2 if even or key.w_bits == 2 else 1
    pairs = int(weights_in_pairs(key.w_bits, s, even))
    constants = f"{planes}, {key.w_bits}, {s}, {group}, {pairs}, {rows}"
    body = f"le_vertical_unpack(to, from, layer, {constants});"
    parameters = "uint32_t *to, const uint8_t *from, const le_row_layer *layer"
    return name, (*specialised(name, parameters, body, _HEADERS, includes(files)), *files)


def _starter(key: KernelKey) -> tuple[str, Files]:
    """The function that computes start values, by name, and its files."""
    m, s = key.packing.pixels, key.packing.field_bits
    name = f"le_vertical_start_a{key.a_bits}_m{m}s{s}"
    body = f"le_vertical_start(chain, layer, channel, {m}, {s}, {(1 << key.a_bits) - 1});"
    parameters = "le_vertical_chain *chain, const le_row_layer *layer, uint32_t channel"
    return name, specialised(name, parameters, body, _HEADERS)


def _tiler(tile: VerticalTile) -> tuple[str, Files]:
    """The tile function, in assembly and in C, by name, and its files."""
    name, row = f"le_vertical_tile_{tile.name}", tile.row
    shape = (
        f"{{.pixels = {row.pixels}, .field_bits = {row.field_bits}, .planes = {tile.planes},\n"
        f"    .segments = {tile.before}, .out_bits = {row.out_bits},\n"
        f"    .pre_shift = {row.pre_shift}, .shift = {row.shift}}}"
    )
    flush = (
        f"void {name}_flush(const le_vertical_call *call, const uint32_t more[2], "
        "uint8_t *last, uint32_t row_bytes, uint32_t rows)"
    )
    source = (
        f'#include "{name}.h"\n\n'
        f"static const le_vertical_tile_shape {name}_shape = {shape};\n\n"
        + tile_function(
            name,
            "le_vertical",
            "vertical_asm.py",
            vertical_assembly(tile),
            f"le_vertical_tile(call, &{name}_shape);",
        )
        + f"\nLE_INTERNAL {flush} {{\n"
        f"    le_vertical_flush_rows(call, more, last, row_bytes, rows, &{name}_shape);\n}}\n"
    )
    prototypes = f"LE_INTERNAL void {name}(le_vertical_call *call);\nLE_INTERNAL {flush}"
    header = prototype_header(name, "le_vertical_tile.h", prototypes)
    parts = ("le_row_polynomial.h", "le_vertical.h", "le_vertical_tile.h")
    headers = tuple(kernel_header(part) for part in parts)
    return name, (*headers, header, SourceFile(f"{name}.c", source))
