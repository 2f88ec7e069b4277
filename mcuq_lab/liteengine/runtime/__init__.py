"""The C runtime under all kernels: freestanding headers, written for boards and hosts alike.

`le_dsp.h` has the DSP instructions with portable twins, `le_requantize.h` the step from accumulator
to activation, `le_memory.h` loads, stores and sub-byte fields, `le_column.h` constants of channels
in few bytes, `le_unpack.h` the way from dense fields to 16-bit halves. The code generator adds all
of them to every set of sources, so a kernel may include any.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from mcuq_lab.sources import SourceFile

_DIRECTORY = Path(__file__).parent


@cache
def runtime_headers() -> tuple[SourceFile, ...]:
    """The headers by name: a header comes before those that include it."""
    names = ("le_dsp.h", "le_requantize.h", "le_memory.h", "le_column.h", "le_unpack.h")
    return tuple(SourceFile(name, (_DIRECTORY / name).read_text()) for name in names)
