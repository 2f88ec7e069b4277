"""The kernels of folded depthwise convolutions: a table of four functions and their constants."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from mcuq_lab.liteengine.kernels.fold_asm import FoldTile, fold_assembly
from mcuq_lab.liteengine.kernels.specialise import (
    driven_kernel,
    kernel_header,
    prototype_header,
    specialised,
    tile_function,
)
from mcuq_lab.sources import SourceFile

Files = tuple[SourceFile, ...]

_HEADERS = ("le_fold.h", "le_fold_pack.h")


@dataclass(frozen=True)
class FoldKey:
    """What a kernel is specialised by.

    Attributes:
        w_bits, a_bits: of the layer.
        in_storage, out_storage: bits of a field of the input and of the output.
        pack_bytes, scatter_bytes: bytes of a pixel that are read, or written, at once.
        tile: of the tile function.
    """

    w_bits: int
    a_bits: int
    in_storage: int
    out_storage: int
    pack_bytes: int
    scatter_bytes: int
    tile: FoldTile


@cache
def fold_kernel(key: FoldKey) -> tuple[str, Files]:
    """Name and files of a kernel."""
    tile = key.tile
    packer, pack_files = _packer(key)
    unpacker, unpack_files = _unpacker(key)
    scatterer, scatter_files = _scatterer(key)
    tiler, tile_files = _tiler(tile)
    kernel = (
        f"le_depthwise_w{key.w_bits}a{key.in_storage}_fold_b{key.pack_bytes}{key.scatter_bytes}"
        f"_{tile.name}"
    )
    fields = {
        "pack": packer,
        "unpack": unpacker,
        "tile": tiler,
        "scatter": scatterer,
        "kernel": tile.kernel,
        "stride": tile.stride,
        "folds": tile.folds,
        "field_bits": tile.field_bits,
        "pre_shift": tile.pre_shift,
        "group": tile.group,
        "weight_words": tile.weight_words,
        "constant_words": 2 if tile.narrow else 3,
        "in_storage": key.in_storage,
        "out_storage": key.out_storage,
        "pack_bytes": key.pack_bytes,
        "scatter_bytes": key.scatter_bytes,
    }
    parts = (packer, unpacker, tiler, scatterer)
    files = driven_kernel(kernel, "le_fold", "le_fold", fields, parts)
    functions = (*pack_files, *unpack_files, *tile_files, *scatter_files)
    return kernel, tuple(dict.fromkeys((*files, *functions)))


def _packer(key: FoldKey) -> tuple[str, Files]:
    """The function that packs a group's channels, or some of them, by name, and its files."""
    tile = key.tile
    name = f"le_fold_pack_a{key.in_storage}b{key.pack_bytes}g{tile.group}_f{tile.folds}"
    name += f"s{tile.field_bits}" if tile.folds == 2 else ""
    body = (
        f"le_fold_pack(to, band, {key.in_storage}, {key.pack_bytes}, {tile.folds}, "
        f"{tile.field_bits}, {tile.group});"
    )
    return name, specialised(name, "uint32_t *to, const le_fold_band *band", body, _HEADERS)


def _unpacker(key: FoldKey) -> tuple[str, Files]:
    """The function that unpacks a channel's weights, by name, and its files."""
    tile = key.tile
    name = f"le_fold_unpack_w{key.w_bits}k{tile.kernel}s{tile.stride}"
    body = f"le_fold_unpack(w, weights, channels, {key.w_bits}, {tile.kernel}, {tile.stride});"
    parameters = "uint32_t *w, const uint8_t *weights, uint32_t channels"
    return name, specialised(name, parameters, body, _HEADERS)


def _scatterer(key: FoldKey) -> tuple[str, Files]:
    """The function that writes a group's outputs, or some of them, by name, and its files."""
    tile = key.tile
    row_words = tile.group * tile.stride
    name = f"le_fold_scatter_o{key.out_storage}b{key.scatter_bytes}r{row_words}_f{tile.folds}"
    body = (
        f"le_fold_scatter(from, band, {key.out_storage}, {key.scatter_bytes}, {tile.folds}, "
        f"{row_words});"
    )
    return name, specialised(name, "const uint32_t *from, const le_fold_band *band", body, _HEADERS)


def _tiler(tile: FoldTile) -> tuple[str, Files]:
    """The tile function, in assembly and in C, by name, and its files."""
    name = f"le_fold_tile_{tile.name}"
    shape = (
        f"{{.kernel = {tile.kernel}, .stride = {tile.stride}, .group = {tile.group},\n"
        f"        .folds = {tile.folds}, .field_bits = {tile.field_bits}, "
        f".out_bits = {tile.out_bits},\n"
        f"        .pre_shift = {tile.pre_shift}, .shift = {tile.shift},\n"
        f"        .narrow = {int(tile.narrow)}, .offset_shift = {tile.offset_shift}}}"
    )
    twin = f"static const le_fold_shape shape = {shape};\n    le_fold_tile(call, &shape);"
    function = tile_function(name, "le_fold", "fold_asm.py", fold_assembly(tile), twin)
    headers = tuple(kernel_header(header) for header in ("le_fold.h", "le_fold_tile.h"))
    prototype = f"LE_INTERNAL void {name}(le_fold_call *call)"
    header = prototype_header(name, "le_fold_tile.h", prototype)
    return name, (*headers, header, SourceFile(f"{name}.c", f'#include "{name}.h"\n\n{function}'))
