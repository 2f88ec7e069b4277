"""Convolutions in little code, which layers of all windows share: see `le_compact.h`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from mcuq_lab.graph import Window
from mcuq_lab.liteengine.ctext import c_array, c_identifier, c_struct
from mcuq_lab.liteengine.dense import pack_stream
from mcuq_lab.liteengine.kernels.columns import COLUMN_BYTES, Column, padded_offsets
from mcuq_lab.liteengine.kernels.compact_asm import (
    STEPS_OF_A_ROUND,
    compact_assembly,
    fields_cycles,
)
from mcuq_lab.liteengine.kernels.remembered import (
    constants_once,
    once_for_weights,
    selected_once,
    sizes_of,
    weights_digest,
)
from mcuq_lab.liteengine.kernels.specialise import (
    includes,
    kernel_header,
    prototype_header,
    specialised,
    tile_function,
)
from mcuq_lab.liteengine.kernels.windows import eight_byte_aligned, map_fields
from mcuq_lab.liteengine.lowering import ByRows, Lowered, ahead_of_input, near_fastest
from mcuq_lab.liteengine.packing.compact import (
    HALF_BITS,
    TAPS,
    CompactPacking,
    CompactWord,
    compact_packings,
)
from mcuq_lab.quantgraph import QConv2d, QOp, QTensor
from mcuq_lab.quantize.ranges import accumulator_peak, accumulator_start
from mcuq_lab.sources import SourceFile
from mcuq_lab.target import DEFAULT_TARGET, Target

_BANDS = (1, 2, 3, 4, 6, 8, 16, 32, 64)
"""Bands in which a layer may be computed."""

_MOST_SEGMENTS = 16
_WIDEST_BITS = 4
"""Of weights: two channels' taps of a step are read as one word."""

_MOST_PHASES = 2
_ROUND_CYCLES = 10 * STEPS_OF_A_ROUND + 5
_OVERREAD_BYTES = 3
_LAYER_BYTES = 60 + 2 * COLUMN_BYTES
_PARAMETERS = "const le_compact_layer *layer, const uint8_t *in, uint8_t *out, uint8_t *scratch"


@dataclass(frozen=True)
class CompactPhase:
    """Columns of the input that are a stride apart, as a row of their own.

    Attributes:
        column: of its first pixel in the input, negative in the padding.
        taps: columns of the window that see it, in ascending order.
        place: fields between the last of them and the last field.
    """

    column: int
    taps: tuple[int, ...]
    place: int


@dataclass(frozen=True)
class CompactColumns:
    """A window's columns: phases, and positions of a line in front of the first output."""

    phases: tuple[CompactPhase, ...]
    skipped: int


def compact_columns(window: Window, zero_point: int) -> CompactColumns | None:
    """How `window` sees the columns of its input; None where it is too wide.

    Padding in front of a row is left out where it holds zeros. Column x * stride + k - pad_left is
    pixel x + delta of its phase; that meets output x at tap j = delta - skipped + 2 of three.
    """
    left = window.pad_left if zero_point else 0
    found: dict[int, list[int]] = {}
    for k in range(window.kernel_w):
        found.setdefault((k - window.pad_left + left) % window.stride_w, []).append(k)

    def delta(k: int) -> int:
        return (k - window.pad_left + left) // window.stride_w

    deltas = [delta(k) for k in range(window.kernel_w)]
    skipped = max(0, *deltas) if len(deltas) > 1 else max(0, deltas[0])
    if len(found) > _MOST_PHASES or min(deltas) < skipped - (TAPS - 1):
        return None
    phases = tuple(
        CompactPhase(phase - left, tuple(taps), skipped - delta(taps[-1]))
        for phase, taps in sorted(found.items())
    )
    return CompactColumns(phases, skipped)


@dataclass(frozen=True, eq=False)
class _Choice:
    """A packing, and how many output rows are packed at once."""

    op: QConv2d
    source: QTensor
    output: QTensor
    columns: CompactColumns
    packing: CompactPacking
    band: int

    @property
    def row_words(self) -> int:
        """Of one block."""
        return len(self.columns.phases) * self.source.shape.c

    @property
    def blocks(self) -> int:
        return -(-(self.output.shape.w + self.columns.skipped) // self.packing.word.pixels)

    @property
    def steps(self) -> int:
        return self.packing.segments * self.packing.segment_steps

    @property
    def rows(self) -> int:
        """Packed at once."""
        window = self.op.window
        count = min(self.band, self.output.shape.h)
        return ((count - 1) | 1) * window.stride_h + window.kernel_h

    @property
    def scratch_bytes(self) -> int:
        """As `le_compact` carves it."""
        behind = self.steps - self.op.window.kernel_h * self.row_words
        words = 2 * (self.blocks * self.packing.word.pixels + 2) + 2 * self.steps
        words += self.blocks * self.rows * self.row_words + behind
        return eight_byte_aligned(4 * words + self.source.pixel_bytes)

    @property
    def cycles(self) -> int:
        """Estimate: instruction counts of the loops, overheads fitted to simulated runs."""
        shape, word, channels = self.output.shape, self.packing.word, self.source.shape.c
        bands, pairs = -(-shape.h // self.band), -(-self.op.out_channels // 2)
        lines = -(-shape.h // 2) * pairs
        rounds = self.packing.segment_steps // STEPS_OF_A_ROUND
        segment = rounds * _ROUND_CYCLES + 17 + fields_cycles(word)
        sums = lines * (self.blocks * (self.packing.segments * segment + 16) + 35)
        outputs = lines * (31 * shape.w + 8.5 * self.blocks * word.pixels + 60)
        runs = self.op.window.kernel_h * len(self.columns.phases)
        packing = bands * self.rows * self.blocks * len(self.columns.phases)
        packing *= 12 + 28 * word.pixels + 3.1 * word.pixels * channels
        each = 26 if self.op.w_bits == _WIDEST_BITS else 35  # else steps begin within bytes
        unpacking = bands * pairs * (each * runs * channels + 55 * runs + 20)
        return int(sums + outputs + packing + unpacking)


def lower_compact(
    op: QOp, tensors: Mapping[str, QTensor], target: Target = DEFAULT_TARGET
) -> tuple[Lowered, ...]:
    """Any `QConv2d` with weights of at most 4 bits and windows of at most three columns, or six
    with a stride of two."""
    if not isinstance(op, QConv2d) or op.w_bits > _WIDEST_BITS:
        return ()
    source, output = tensors[op.inputs[0]], tensors[op.output]
    columns = compact_columns(op.window, source.zero_point)
    if columns is None:
        return ()
    packings = _packings(_taps(op, columns), source.bits)
    if not packings or int(accumulator_peak(op.weight, source.qmax).max()) >> HALF_BITS:
        return ()
    offered = selected_once(
        ("compact", sizes_of(op, source, output), packings),
        lambda: _choices(op, source, output, columns, packings),
        _best,
    )
    return tuple(_lowered(replace(way, op=op, source=source, output=output)) for way in offered)


def _best(choices: Iterable[_Choice]) -> list[_Choice]:
    return near_fastest(
        choices,
        lambda way: way.packing.word,
        lambda way: way.cycles,
        lambda way: way.scratch_bytes,
    )


@once_for_weights
def _packings(taps: np.ndarray, a_bits: int) -> Iterator[CompactPacking]:
    return compact_packings(taps, a_bits, STEPS_OF_A_ROUND, _MOST_SEGMENTS)


def _choices(
    op: QConv2d,
    source: QTensor,
    output: QTensor,
    columns: CompactColumns,
    packings: Iterable[CompactPacking],
) -> Iterator[_Choice]:
    pairs = -(-output.shape.h // 2)
    bands = sorted({2 * -(-pairs // bands) for bands in _BANDS})
    for packing in packings:
        for band in bands:
            yield _Choice(op, source, output, columns, packing, band)


def _taps(op: QConv2d, columns: CompactColumns) -> np.ndarray:
    """Weights by step and tap: int8 (oc, steps, 3), steps [row of the window][phase][channel]."""
    taps = np.zeros((*op.weight.shape[:2], len(columns.phases), op.weight.shape[3], TAPS), np.int8)
    for i, phase in enumerate(columns.phases):
        last = TAPS - 1 - phase.place
        first = last + 1 - len(phase.taps)
        seen = op.weight[:, :, list(phase.taps), :]
        taps[:, :, i, :, first : last + 1] = seen.transpose(0, 1, 3, 2)
    return taps.reshape(op.out_channels, -1, TAPS)


def _stream(op: QConv2d, columns: CompactColumns) -> np.ndarray:
    """Weights as `le_compact_unpack` reads them: uint8 (pairs of channels, bytes)."""
    missing = op.out_channels % 2
    weight = np.pad(op.weight, ((0, missing), (0, 0), (0, 0), (0, 0)))
    pairs = weight.reshape(-1, 2, *weight.shape[1:])
    rows = []
    for row in range(op.window.kernel_h):
        for phase in columns.phases:
            # (pair, channel, tap, input channel) -> (pair, input channel, channel, tap)
            seen = pairs[:, :, row, list(phase.taps[::-1]), :].transpose(0, 3, 1, 2)
            rows.append(seen.reshape(len(pairs), -1))
    return pack_stream(np.concatenate(rows, axis=1) + (1 << (op.w_bits - 1)), op.w_bits)


def _lowered(choice: _Choice) -> Lowered:
    op, source, output = choice.op, choice.source, choice.output
    packing, columns, window = choice.packing, choice.columns, choice.op.window
    name = c_identifier(op.name)
    kernel, files = _kernel(choice)
    known = "compact", weights_digest(op.weight), op.w_bits, columns
    stream = constants_once(known, lambda: _stream(op, columns))
    weights = np.pad(stream.reshape(-1), (0, _OVERREAD_BYTES))
    missing = op.out_channels % 2
    multipliers = np.pad(op.requantize.multiplier, (0, missing))
    offsets = Column(f"{name}_offsets", padded_offsets(op.requantize.offset, missing))
    field = source.qmax * packing.negative[0]
    first = accumulator_start(op.weight, source.qmax) - packing.segments * field
    firsts = Column(f"{name}_firsts", np.pad(first, (0, missing), mode="edge"))
    start = packing.start(source.qmax)
    fields = {
        **map_fields(source, output),
        "out_c": op.out_channels,
        "kernel_h": window.kernel_h,
        "stride_h": window.stride_h,
        "stride_w": window.stride_w,
        "pad_top": window.pad_top,
        "zero_point": source.zero_point,
        "phases": len(columns.phases),
        "skipped": columns.skipped,
        "segments": packing.segments,
        "segment_steps": packing.segment_steps,
        "blocks": choice.blocks,
        "band": choice.band,
        "phase": "{" + ", ".join(map(_phase_text, columns.phases)) + "}",
        "tile_bytes": stream.shape[1],
        "start": f"{{{start & 0xFFFFFFFF}u, {start >> 32}u}}",
        "carried": "{{{}, {}}}".format(*packing.carried(source.qmax)),
        "weights": f"{name}_weights",
        "multipliers": f"{name}_multipliers",
        "offsets": offsets.fields,
        "firsts": firsts.fields,
    }
    return Lowered(
        kernel=kernel,
        packing=str(packing),
        files=files,
        declarations=lambda: (
            c_array("uint8_t", f"{name}_weights", weights, 1)
            + c_array("int32_t", f"{name}_multipliers", multipliers)
            + offsets.declaration
            + firsts.declaration
            + c_struct("le_compact_layer", f"{name}_layer", fields)
        ),
        call=f"{kernel}(&{name}_layer, {{in0}}, {{out}}, {{scratch}});",
        weights_bytes=weights.size
        + 4 * multipliers.size
        + offsets.size_bytes
        + firsts.size_bytes
        + _LAYER_BYTES,
        scratch_bytes=choice.scratch_bytes,
        ahead=ahead_of_input(source, _written_and_unread(choice)),
        by_rows=ByRows("le_compact_layer"),
        predicted_cycles=choice.cycles,
        limit_macs_per_cycle=1.2 * packing.word.pixels,
    )


def _phase_text(phase: CompactPhase) -> str:
    return f"{{{phase.column}, {len(phase.taps)}, {phase.place}}}"


def _written_and_unread(choice: _Choice) -> Iterator[tuple[int, int]]:
    """After each band but the last: bytes written, and where the next one begins to read."""
    window, source, output = choice.op.window, choice.source, choice.output
    for done in range(choice.band, output.shape.h, choice.band):
        unread = max(done * window.stride_h - window.pad_top, 0)
        yield (
            done * output.shape.w * output.pixel_bytes,
            unread * source.shape.w * source.pixel_bytes,
        )


def _kernel(choice: _Choice) -> tuple[str, tuple[SourceFile, ...]]:
    """Name and files of a kernel: its own file, and that of the inner loops."""
    op, source, word = choice.op, choice.source, choice.packing.word
    requantize = op.requantize
    sums, sums_files = _sums(word)
    kernel = f"le_conv2d_w{op.w_bits}a{source.storage_bits}_compact_m{word.pixels}s{word.shift}"
    kernel += f"_o{requantize.bits}p{requantize.pre_shift}h{requantize.shift}"
    body = (
        f"le_compact(layer, in, out, scratch, {sums}, {op.w_bits}, {source.storage_bits}, "
        f"{word.pixels}, {word.shift}, {requantize.bits}, {requantize.pre_shift}, "
        f"{requantize.shift});"
    )
    files = specialised(kernel, f"{_PARAMETERS}", body, ("le_compact.h",), includes(sums_files[1:]))
    return kernel, tuple(dict.fromkeys((*sums_files, *files)))


@cache
def _sums(word: CompactWord) -> tuple[str, tuple[SourceFile, ...]]:
    """The inner loops, in assembly and in C, by name, and their files."""
    name = f"le_compact_sums_m{word.pixels}s{word.shift}"
    twin = f"le_compact_sums(call, {word.pixels}, {word.shift});"
    parameters = ("const le_compact_call *call",)
    function = tile_function(
        name, "le_compact", "compact_asm.py", compact_assembly(word), twin, parameters
    )
    prototype = f"LE_INTERNAL void {name}({parameters[0]})"
    header = prototype_header(name, "le_compact.h", prototype)
    source = SourceFile(f"{name}.c", f'#include "{name}.h"\n\n{function}')
    return name, (kernel_header("le_compact.h"), header, source)
