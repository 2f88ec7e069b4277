"""The C files of a row polynomial: one function each for packing, unpacking, start values, tiles.

Each is shared by all layers that need the same constants; a kernel is a table of four of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from mcuq_lab.liteengine.kernels.row_lanes_asm import lanes_assembly
from mcuq_lab.liteengine.kernels.row_polynomial_asm import Tile
from mcuq_lab.liteengine.kernels.row_tile_asm import tile_assembly
from mcuq_lab.liteengine.kernels.specialise import (
    driven_kernel,
    includes,
    kernel_header,
    prototype_header,
    specialised,
    tile_function,
)
from mcuq_lab.liteengine.packing.lanes import lanes_in_halves
from mcuq_lab.liteengine.packing.row import RowPacking, Slice
from mcuq_lab.sources import SourceFile

Files = tuple[SourceFile, ...]

_PACK_HEADERS = ("le_row_polynomial.h", "le_row_pack.h")
_HEADERS = (*_PACK_HEADERS, "le_row_unpack.h")
_OUTPUTS = "const le_row_call *call, const uint32_t sums[4], uint32_t pairs[2]"


@dataclass(frozen=True)
class KernelKey:
    """What a kernel is specialised by.

    `padded`: of two phases, the second one has two taps, because there is padding on the left.
    `few`: input channels of a dense layer that has less than a word of them, which are packed at
    once; else 0.
    `ordered`: words of channels are packed in the layer's own order.
    """

    w_bits: int
    a_bits: int
    storage: int
    packing: RowPacking
    tile: Tile
    padded: bool
    few: int = 0
    ordered: bool = False


@cache
def row_kernel(key: KernelKey) -> tuple[str, Files]:
    """Name and files of a kernel."""
    tile, packing = key.tile, key.packing
    packer, pack_files = pack_function(key)
    unpacker, unpack_files = _unpacker(key)
    starter, start_files = start_function(packing)
    tiler, tile_files = _tiler(tile)
    cuts = _cuts("a", packing.a_slices) + _cuts("w", packing.w_slices)
    op = "depthwise" if tile.depthwise else "conv2d"
    words = "_t" if packing.words == 2 else "_l" if key.padded else ""
    few = f"_c{key.few}" if key.few else ""
    kernel = f"le_{op}_w{key.w_bits}a{key.a_bits}_row{cuts}{words}_{tile.name}{few}"
    fields = {
        "pack": packer,
        "unpack": unpacker,
        "start": starter,
        "tile": tiler,
        "requantize": f"{tiler}_outputs",
        "depthwise": int(tile.depthwise),
        "nested": int(tile.nested),
        "pixels": packing.pixels,
        "field_bits": packing.field_bits,
        "stride": tile.stride,
        "slots": tile.slots,
        "a_storage": key.storage,
        "out_bits": tile.out_bits,
        "pre_shift": tile.pre_shift,
        "shift": tile.shift,
    }
    parts = (packer, unpacker, starter, tiler)
    files = driven_kernel(kernel, "le_row_polynomial", "le_row", fields, parts, ("le_row_state.h",))
    functions = (*pack_files, *unpack_files, *start_files, *tile_files)
    return kernel, tuple(dict.fromkeys((*files, *functions)))


def _cuts(letter: str, slices: Sequence[Slice]) -> str:
    return "" if len(slices) == 1 else f"_{letter}" + "_".join(str(part.bits) for part in slices)


def _geometry(packing: RowPacking) -> str:
    toggle = "x" if packing.toggle else "h" if packing.lanes == 2 else ""
    words = "t" if packing.words == 2 else ""
    phases = "_y2" if packing.phases == 2 else ""
    return f"m{packing.pixels}s{packing.field_bits}{toggle}{words}{phases}"


def pack_function(key: KernelKey) -> tuple[str, Files]:
    """The function that packs a row, by name, and its files."""
    packing, tile = key.packing, key.tile
    toggle = "x" if packing.toggle else "h" if packing.lanes == 2 else ""
    pairs = "_dw" if tile.depthwise else ""
    name = (
        f"le_row_pack_a{key.a_bits}{_cuts('c', packing.a_slices)}_m{packing.pixels}"
        f"s{packing.field_bits}{toggle}_{tile.band_name}{pairs}{f'_c{key.few}' if key.few else ''}"
        f"{'_o' * key.ordered}"
    )
    statements = []
    for index, part in enumerate(packing.a_slices):
        to = f"entry + {index} * layer->ranges * (layer->range_bytes / 4)" if index else "entry"
        statements.append(
            f"{{\n        const le_row_shape shape = {{{packing.pixels}, {packing.field_bits}, "
            f"{int(packing.toggle)}, {tile.slots}, {packing.phases}, {packing.lanes}, "
            f"{int(tile.depthwise)}, {key.storage}, {part.low}, {part.bits}, {key.few}, "
            f"{int(key.ordered)}}};\n"
            f"        le_row_pack({to}, row, pad, channels, layer, &shape);\n    }}"
        )
    parameters = (
        "uint32_t *entry, const uint8_t *row, const uint8_t *pad, uint32_t channels, "
        "const le_row_layer *layer"
    )
    return name, specialised(name, parameters, "\n    ".join(statements), _PACK_HEADERS)


def _unpacker(key: KernelKey) -> tuple[str, Files]:
    """The function that unpacks weights, by name, and its files."""
    packing, depthwise = key.packing, key.tile.depthwise
    cut, words = packing.w_slices[0].low, packing.words
    name = f"le_row_unpack_w{key.w_bits}{f'c{cut}' if cut else ''}_s{packing.field_bits}"
    name += ("t" if words == 2 else "") + ("_dw" if depthwise else "")
    if packing.phases == 2:
        name += ("_y2l" if key.padded else "_y2") + ("h" if packing.lanes == 2 else "")
    form = "TWO_WORDS" if words == 2 else "ONE_WORD"
    if packing.phases == 2:
        form = "PHASES_PADDED" if key.padded else "PHASES"
    constants = f"{key.w_bits}, {cut}, {packing.field_bits}, LE_ROW_{form}"
    headers, rows, files = _HEADERS, "0", ()
    if packing.lanes == 2:
        constants = f"{key.w_bits}, {packing.field_bits}, {int(key.padded)}"
        halves = "_halves" if lanes_in_halves(key.w_bits, packing.field_bits) else ""
        body = f"le_row_lanes_unpack{halves}(to, from, layer, {constants});"
        headers = (*_HEADERS, "le_row_lanes.h")
    elif words == 2 and not depthwise:
        body = f"le_row_unpack_ranges(to, from, layer, {key.w_bits}, {packing.field_bits});"
    else:
        if form == "ONE_WORD":
            rows, files = filter_rows(key.w_bits, packing.field_bits)
        channels = "1, 1" if depthwise else "layer->in_c, layer->range"
        body = f"(void)le_row_unpack(to, from, {channels}, {constants}, {rows});"
        body = f"(void)layer;\n    {body}" if depthwise else body
    parameters = "uint32_t *to, const uint8_t *from, const le_row_layer *layer"
    return name, (*specialised(name, parameters, body, headers, includes(files)), *files)


@cache
def filter_rows(w_bits: int, field_bits: int) -> tuple[str, Files]:
    """Words of all filter rows of 2-bit weights, as a C expression, and its files.

    A row of three taps is six bits, columns 2, 1, 0 from the lowest one on; 64 words spare the
    unpacking two thirds of its instructions. Of wider weights there are too many rows: none.
    """
    if w_bits > 2:
        return "0", ()
    name = f"le_row_words_w2_s{field_bits}"
    taps = [[(row >> at & 1) - (row >> at & 2) for at in (0, 2, 4)] for row in range(64)]
    words = [sum(tap << (i * field_bits) for i, tap in enumerate(row)) % (1 << 32) for row in taps]
    numbers = ",".join(f"{word}u" for word in words)
    prototype = f"LE_INTERNAL const uint32_t *{name}(void)"
    source = (
        f'#include "{name}.h"\n\n{prototype} {{\n'
        f"    static const uint32_t words[64] = {{{numbers}}};\n    return words;\n}}\n"
    )
    header = prototype_header(name, "le_row_polynomial.h", prototype)
    return f"{name}()", (header, SourceFile(f"{name}.c", source))


def start_function(packing: RowPacking) -> tuple[str, Files]:
    """The function that computes start values, by name, and its files."""
    name = f"le_row_start_{_geometry(packing)}"
    taps, toggle = len(packing.taps_low), int(packing.toggle)
    constants = f"{packing.pixels}, {packing.field_bits}, {taps}, {packing.words}, {toggle}"
    start, headers = "le_row_start", _HEADERS
    if packing.lanes == 2:
        start, headers = "le_row_lanes_start", (*_HEADERS, "le_row_lanes.h")
        constants = f"{packing.field_bits}"
    body = (
        f"{start}(chain->next, chain->first, low, layer, {constants});\n"
        f"    {start}(chain->next + 2, chain->first + 2, high, layer, {constants});"
    )
    parameters = (
        "le_row_chain *chain, const int32_t *low, const int32_t *high, const le_row_layer *layer"
    )
    return name, specialised(name, parameters, body, headers)


def _tiler(tile: Tile) -> tuple[str, Files]:
    """The tile function, in assembly and in C, by name, and its files."""
    name = f"le_row_tile_{tile.name}"
    shifts = "0" if tile.nested else ", ".join(map(str, tile.segment_shifts)) or "0"
    shape = (
        f"{{.depthwise = {int(tile.depthwise)}, .stride = {tile.stride}, .lanes = {tile.lanes},\n"
        f"    .pixels = {tile.pixels},\n"
        f"    .field_bits = {tile.field_bits}, .words = {tile.words}, .slots = {tile.slots},\n"
        f"    .segments = {len(tile.segment_shifts)}, .shift_of = {{{shifts}}}, "
        f".has_surplus = {int(tile.surplus)}, .out_bits = {tile.out_bits},\n"
        f"    .pre_shift = {tile.pre_shift}, .shift = {tile.shift}}}"
    )
    twin = f"le_row_tile{'_nested' * tile.nested}(call, &{name}_shape);"
    assembly = lanes_assembly(tile) if tile.nested else tile_assembly(tile)
    writer = "row_lanes_asm.py" if tile.nested else "row_tile_asm.py"
    source = (
        f'#include "{name}.h"\n\n'
        f"static const le_row_tile_shape {name}_shape = {shape};\n\n"
        + tile_function(name, "le_row", writer, assembly, twin)
        + f"\nLE_INTERNAL void {name}_outputs({_OUTPUTS}) {{\n"
        f"    pairs[0] = le_row_outputs(call, sums, &{name}_shape);\n"
        f"    pairs[1] = le_row_outputs(call, sums + 2, &{name}_shape);\n}}\n"
    )
    prototypes = f"LE_INTERNAL void {name}(le_row_call *call);\n"
    prototypes += f"LE_INTERNAL void {name}_outputs({_OUTPUTS})"
    header = prototype_header(name, "le_row_tile.h", prototypes)
    headers = tuple(kernel_header(part) for part in ("le_row_polynomial.h", "le_row_tile.h"))
    return name, (*headers, header, SourceFile(f"{name}.c", source))
