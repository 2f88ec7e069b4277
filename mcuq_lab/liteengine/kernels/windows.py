"""What the kernels that walk over widened rows (`le_rows.h`) share on the Python side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mcuq_lab.errors import ModelError
from mcuq_lab.graph import Window
from mcuq_lab.liteengine.lowering import Ahead, ahead_of_input
from mcuq_lab.quantgraph import QTensor

WINDOW_ROWS = tuple((f"window.{name}", f"rows.{name}") for name in ("in_h", "out_h", "pad_top"))
"""Members of a layer with a `le_window` that choose rows, see `ByRows`."""


def check_limits(name: str, window: Window, source: QTensor, output: QTensor) -> None:
    """Raises ModelError where a number does not fit its field in the C structures."""
    shapes = (source.shape, output.shape)
    sides = [side for shape in shapes for side in (shape.h, shape.w, shape.c)]
    small = (window.stride_h, window.stride_w, window.pad_top, window.pad_left)
    if max(*sides, window.kernel_h, window.kernel_w) > 0xFFFF or max(small) > 0xFF:
        raise ModelError(
            f"'{name}' ({source.shape}, window {window}) is too large for LiteEngine: sides, "
            "channels and kernels go up to 65,535, strides and padding up to 255."
        )


def map_fields(source: QTensor, output: QTensor) -> Mapping[str, int]:
    """Initialisers that the layers of all convolutions have."""
    return {
        "in_h": source.shape.h,
        "in_w": source.shape.w,
        "in_c": source.shape.c,
        "out_h": output.shape.h,
        "out_w": output.shape.w,
    }


def window_fields(
    window: Window, source: QTensor, output: QTensor, pixel_halves: int
) -> Mapping[str, int]:
    """Initialisers of a C `le_window`."""
    return {
        **map_fields(source, output),
        "kernel_h": window.kernel_h,
        "kernel_w": window.kernel_w,
        "stride_h": window.stride_h,
        "stride_w": window.stride_w,
        "pad_top": window.pad_top,
        "pad_left": window.pad_left,
        "zero_point": source.zero_point,
        "pixel_halves": pixel_halves,
        "row_halves": row_halves(window, output, pixel_halves),
    }


def row_halves(window: Window, output: QTensor, pixel_halves: int) -> int:
    """16-bit halves of one slot of the ring of rows.

    Three more than a row, for the last step of four halves of the convolution, in whole words.
    """
    columns = (output.shape.w - 1) * window.stride_w + window.kernel_w
    return (columns * pixel_halves + 3 + 3) // 4 * 4


def ahead_of_rows(window: Window, source: QTensor, output: QTensor) -> tuple[Ahead, ...]:
    """How far the output may overlap the input.

    When output row y is written, input rows up to the last one of its window have been widened.
    """
    return ahead_of_input(source, _rows_written_and_unread(window, source, output))


def _rows_written_and_unread(
    window: Window, source: QTensor, output: QTensor
) -> Iterator[tuple[int, int]]:
    for y in range(output.shape.h - 1):
        widened = min(source.shape.h, y * window.stride_h - window.pad_top + window.kernel_h)
        # A later window may also start behind rows that nobody reads; those are free as well.
        unread = max(widened, (y + 1) * window.stride_h - window.pad_top, 0)
        if unread >= source.shape.h:
            return
        yield (
            (y + 1) * output.shape.w * output.pixel_bytes,
            unread * source.shape.w * source.pixel_bytes,
        )


def eight_byte_aligned(size_bytes: int) -> int:
    """Rounded up to a multiple of eight."""
    return (size_bytes + 7) // 8 * 8
