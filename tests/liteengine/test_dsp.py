"""The DSP instructions: portable twins against arithmetic in Python and against the simulated core.

Each operation of `dsp_vectors.c` runs on random and extreme operands.
"""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mcuq_lab.liteengine.runtime import runtime_headers
from mcuq_lab.sources import SourceFile
from tests.support.simulated_core import Core, build_image, has_toolchain

_SOURCE = Path(__file__).with_name("dsp_vectors.c")
_EXTREMES = (0, 1, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x80008000)
_WORD, _WIDE = (1 << 32) - 1, (1 << 64) - 1


def operands() -> np.ndarray:
    rng = np.random.default_rng(3)
    drawn = rng.integers(0, 1 << 32, (300, 4), dtype=np.uint64)
    extreme = rng.choice(_EXTREMES, (300, 4)).astype(np.uint64)
    return np.concatenate([drawn, extreme]).astype(np.uint32)


def signed(word: int, bits: int = 32) -> int:
    word &= (1 << bits) - 1
    return word - (1 << bits) if word >> (bits - 1) else word


def low(word: int) -> int:
    return signed(word, 16)


def high(word: int) -> int:
    return signed(word >> 16, 16)


def usat(value: int, bits: int, shift: int) -> int:
    return min(max(signed(value) >> shift, 0), (1 << bits) - 1)


def ror(word: int, by: int) -> int:
    return ((word >> by) | (word << (32 - by))) & _WORD


def halves(first: int, second: int) -> int:
    return (first & 0xFFFF) | (second & 0xFFFF) << 16


def sxtb16(word: int, by: int) -> int:
    word = ror(word, by)
    return halves(signed(word, 8), signed(word >> 16, 8))


def uxtb16(word: int, by: int) -> int:
    return ror(word, by) & 0x00FF00FF


def uxtab16(total: int, word: int, by: int) -> int:
    word = uxtb16(word, by)
    return halves(total + word, (total >> 16) + (word >> 16))


def pkhbt(a: int, b: int, by: int) -> int:
    return halves(a, (b << by) >> 16)


def pkhtb(a: int, b: int, by: int) -> int:
    return halves(signed(b) >> by, a >> 16)


def umax8(a: int, b: int) -> int:
    return sum(max(a >> i & 0xFF, b >> i & 0xFF) << i for i in (0, 8, 16, 24))


def requantized(total: int, multiplier: int, offset: int, shift: int, bits: int) -> int:
    t = (signed(total << 3) * multiplier) >> 32
    return usat(t + signed(offset), bits, shift)


def pair(first: int, second: int) -> int:
    return (first & _WORD) | (second & _WORD) << 32


ORACLE = {
    0: lambda a, b, c, d: (c + low(a) * low(b) + high(a) * high(b)) & _WORD,
    1: lambda a, b, c, d: (c + low(a) * high(b) + high(a) * low(b)) & _WORD,
    2: lambda a, b, c, d: (low(a) * low(b) + high(a) * high(b)) & _WORD,
    3: lambda a, b, c, d: (pair(c, d) + low(a) * low(b) + high(a) * high(b)) & _WIDE,
    4: lambda a, b, c, d: (c + low(a) * low(b)) & _WORD,
    5: lambda a, b, c, d: (c + low(a) * high(b)) & _WORD,
    6: lambda a, b, c, d: (c + high(a) * low(b)) & _WORD,
    7: lambda a, b, c, d: (c + high(a) * high(b)) & _WORD,
    8: lambda a, b, c, d: (pair(c, d) + signed(a) * signed(b)) & _WIDE,
    9: lambda a, b, c, d: (pair(c, d) + a * b) & _WIDE,
    10: lambda a, b, c, d: a * b + c + d,
    11: lambda a, b, c, d: ((signed(a) * signed(b)) >> 32) & _WORD,
    12: lambda a, b, c, d: (c + ((signed(a) * signed(b)) >> 32)) & _WORD,
    13: lambda a, b, c, d: (c + ((signed(a) * low(b)) >> 16)) & _WORD,
    14: lambda a, b, c, d: pair(usat(a, 2, 0), usat(a, 8, 31)),
    15: lambda a, b, c, d: pair(usat(a, 4, 1), usat(a, 7, 22)),
    16: lambda a, b, c, d: usat(a, 5, b % 32),
    17: lambda a, b, c, d: pair(sxtb16(a, 0), sxtb16(a, 8)),
    18: lambda a, b, c, d: pair(sxtb16(a, 16), sxtb16(a, 24)),
    19: lambda a, b, c, d: pair(uxtb16(a, 0), uxtb16(a, 8)),
    20: lambda a, b, c, d: pair(uxtb16(a, 16), uxtb16(a, 24)),
    21: lambda a, b, c, d: pair(uxtab16(a, b, 0), uxtab16(a, b, 8)),
    22: lambda a, b, c, d: pair(pkhbt(a, b, 0), pkhbt(a, b, 16)),
    23: lambda a, b, c, d: pair(pkhbt(a, b, 7), pkhtb(a, b, 16)),
    24: lambda a, b, c, d: pair(pkhtb(a, b, 1), pkhtb(a, b, 31)),
    25: lambda a, b, c, d: pair(a >> 3 & 31, signed(a >> 3, 5)),
    26: lambda a, b, c, d: pair(a, signed(a >> 31, 1)),
    27: lambda a, b, c, d: umax8(a, b),
    28: lambda a, b, c, d: requantized(a >> 4, b >> 1, c, 6, 4),
    29: lambda a, b, c, d: requantized(a >> 4, b >> 1, c, d % 32, 8),
    30: lambda a, b, c, d: halves(a - b, (a >> 16) - (b >> 16)),
    31: lambda a, b, c, d: (a + sum(b >> i & 0xFF for i in (0, 8, 16, 24))) & _WORD,
}


def legal(operation: int, x: np.ndarray) -> np.ndarray:
    """Operands within the ranges that the requantization specifies."""
    if operation not in (28, 29):
        return x
    x = x.copy()
    x[:, 0] >>= 3  # (a >> 4) << 3 stays below 2**31
    x[:, 2] = (x[:, 2].astype(np.int32) >> 1).astype(np.uint32)  # |t + offset| < 2**31
    return x


@pytest.fixture(scope="module")
def on_host(tmp_path_factory):
    directory = tmp_path_factory.mktemp("dsp")
    for header in runtime_headers():
        (directory / header.name).write_text(header.text)
    library = directory / "dsp.so"
    command = ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC"]
    command += ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]
    command += [f"-I{directory}", str(_SOURCE), "-o", str(library)]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(library))


def run_on_host(library, operation: int, x: np.ndarray) -> np.ndarray:
    results = np.zeros(len(x), np.uint64)
    library.dsp_run(operation, x.ctypes.data_as(ctypes.c_void_p),
                    results.ctypes.data_as(ctypes.c_void_p), len(x))  # fmt: skip
    return results


@pytest.mark.parametrize("operation", ORACLE)
def test_twin_equals_arithmetic(on_host, operation):
    x = legal(operation, operands())
    expected = [ORACLE[operation](*map(int, row)) for row in x]
    np.testing.assert_array_equal(run_on_host(on_host, operation, x), np.uint64(expected))


@pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")
def test_instructions_equal_twins(on_host):
    source = SourceFile(_SOURCE.name, "#define DSP_ON_CORE\n" + _SOURCE.read_text())
    core = Core(build_image((*runtime_headers(), source), ("dsp_run",)))
    at, results_at = 0x20010000, 0x20020000
    for operation in ORACLE:
        x = np.ascontiguousarray(legal(operation, operands()))
        core.write(at, x.tobytes())
        core.call("dsp_run", operation, at, results_at, len(x))
        results = np.frombuffer(core.read(results_at, 8 * len(x)), np.uint64)
        np.testing.assert_array_equal(results, run_on_host(on_host, operation, x), str(operation))
