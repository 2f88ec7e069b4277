"""About how many bytes a kernel's C files take in flash, without a compiler.

Figures are those of gcc 12.2 at -O3 for a Cortex-M4. They need not be exact: they weigh one choice
of kernels against another, and the linker has the last word.
"""

from __future__ import annotations

import re
from functools import lru_cache

from mcuq_lab.sources import SourceFile

_INSTRUCTION = re.compile(r'^\s*"[^"]+\\n"$', re.MULTILINE)
_BYTES_OF_AN_INSTRUCTION = 3.35
_BYTES_OF_A_WIDE_ONE = 3.95
"""In tiles of `vertical_asm.py`, whose instructions are nearly all of 32 bits."""
_BYTES_BESIDE_ASSEMBLY = 20

_COMPILED = (
    (r"le_row_polynomial\.c", 3600),
    (r"le_row_pack_a2_", 1800),
    (r"le_row_pack_a[34]_", 1150),
    (r"le_row_pack_", 820),
    (r"le_row_(unpack|start)_", 220),
    (r"le_row_words_", 264),
    (r"le_vertical\.c", 2450),
    (r"le_vertical_unpack_w4_\w+e\.c", 550),
    (r"le_vertical_unpack_", 380),
    (r"le_vertical_start_", 290),
    (r"le_halves\.c", 1220),
    (r"le_halves_pack_f\d_p1", 800),
    (r"le_halves_pack_", 1400),
    (r"le_halves_unpack_", 190),
    (r"le_fold\.c", 870),
    (r"le_fold_pack_", 700),
    (r"le_fold_unpack_", 110),
    (r"le_fold_scatter_", 280),
    (r"le_conv2d_.*_compact_", 1930),
    (r"le_(conv2d|depthwise)_.*_(row|halves|fold|vertical)", 55),  # a table and a call
    (r"le_(conv2d|depthwiseconv2d)_.*_generic", 1550),
    (r"le_conv2d_w\da[48]_points_", 650),
    (r"le_conv2d_w\da2_points_", 1100),
    (r"le_depthwiseconv2d_.*_points_", 550),
    (r"le_fullyconnected_.*_bytes_", 1300),
    (r"le_fullyconnected_.*_signed", 250),
    (r"le_fullyconnected_", 600),
    (r"le_maxpool_", 380),
    (r"le_averagepool_a\d_fields", 310),
    (r"le_averagepool_", 850),
    (r"le_concat_", 200),
    (r"le_add_", 500),
    (r"le_subsample_", 60),
)
"""Bytes by the beginning of a file's name."""

_BYTES_OF_A_DRIVER_CHARACTER = 0.16
_UNKNOWN_BYTES = 900


@lru_cache(maxsize=4096)
def code_bytes(file: SourceFile) -> int:
    """Estimated bytes of one file's object in flash; 0 for a header."""
    if file.is_header:
        return 0
    if instructions := len(_INSTRUCTION.findall(file.text)):
        wide = file.name.startswith("le_vertical_tile_")
        each = _BYTES_OF_A_WIDE_ONE if wide else _BYTES_OF_AN_INSTRUCTION
        return int(_BYTES_BESIDE_ASSEMBLY + each * instructions)
    for name, size_bytes in _COMPILED:
        if re.match(name, file.name):
            return size_bytes
    # A driver has its code in the file, a specialised kernel in the headers that it includes.
    return max(int(_BYTES_OF_A_DRIVER_CHARACTER * len(file.text)), _UNKNOWN_BYTES)
