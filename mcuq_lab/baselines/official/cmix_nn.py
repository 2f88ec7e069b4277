"""C for a network on CMix-NN itself: its convolutions with per-channel requantization ("ICN").

Written from `Include/arm_cmixnn.h` of release 1.0.0 and the paper on ICN (Rusci et al.,
arXiv:1905.13082): out = z_out + floor(m * 2**-n * (sum + bias)), m a fraction of 32 bits. The
library has no additions, pools and fully connected layers, and takes square images and whole words
of channels only; what it does not take runs on the re-implementation, and the note names it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mcuq_lab.baselines.c_text import array, identifier, model_header, model_source
from mcuq_lab.baselines.cmix_nn.codegen import (
    check_widths,
    emit,
    kernel_sources,
    scratch_bytes,
)
from mcuq_lab.baselines.cmix_nn.layout import convolution_rows, depthwise_rows
from mcuq_lab.baselines.official.library import Library, freestanding_headers, revision_of
from mcuq_lab.baselines.official.mixed import emit_mixed
from mcuq_lab.baselines.tensor_arena import TensorArena, plan_network, scratch_name
from mcuq_lab.errors import ConfigError, NumericsError
from mcuq_lab.quantgraph import (
    QConv2d,
    QDepthwiseConv2d,
    QOp,
    QuantGraph,
    QWeighted,
    Requantize,
)
from mcuq_lab.sources import LayerInfo, SourceFile, Sources

ENGINE_NAME = "cmix_nn_official"
NAME = "CMix-NN"
FOLDERS = ("Include", "Source")

_HEADER = "Include/arm_cmixnn.h"
_U16, _U8, _IN = "const uint16_t", "const uint8_t", "const uint8_t *"
_TYPES = (
    f"{_IN}, {_U16}, {_U16}, {_IN}, {_U16}, {_U16}, {_U8}, {_U8}, {_U8}, {_U8}, {_U16}, "
    f"const int32_t *, uint8_t *, {_U16}, {_U8}, {_U8}, {_U8}, const int32_t *, const int8_t *, "
    "int16_t *, uint8_t *"
)

_HEAD = """#include "arm_cmixnn.h"
#include "cx_layers.h"
#include "cx_small_layers.h"

/* A refused call must not be measured. */
static inline void expect_success(arm_status status)
{
    if (status != ARM_MATH_SUCCESS)
        __builtin_trap();
}"""


def version_of(library: Library) -> str:
    """The library's release, `1.0.0`; raises ConfigError if it is another, or no CMix-NN."""
    version = revision_of(library.text(_HEADER))
    if version.split(".")[0] != "1":
        raise ConfigError(
            f"{NAME} in {library.place}: {_HEADER} is of revision '{version}'; MCUQ calls the "
            f"API of release 1. Name another copy as [libraries] {library.key} in mcuq.toml."
        )
    return version


def function_for(graph: QuantGraph, op: QOp) -> str:
    """The library's function for an operator; "" where it has none, or does not take its shape."""
    if not isinstance(op, QConv2d | QDepthwiseConv2d):
        return ""
    x, y, window = graph.tensors[op.inputs[0]], graph.tensors[op.output], op.window
    square = (
        x.shape.h == x.shape.w
        and y.shape.h == y.shape.w
        and window.kernel_h == window.kernel_w
        and window.stride_h == window.stride_w
        and window.pad_top == window.pad_left
    )
    widths = f"u{x.bits}_u{y.bits}_u{op.w_bits}_icn"
    if isinstance(op, QDepthwiseConv2d):
        # Its padding is stored zeros, whatever the zero point.
        whole = x.shape.c % 4 == 0 and not (window.padded and x.zero_point)
        name = f"arm_depthwise_separable_conv_HWC_{widths}"
    else:
        depth = window.kernel_h * window.kernel_w * x.shape.c
        fields = 32 // x.bits, 32 // op.w_bits, 4
        whole = not (x.shape.c % fields[0] or depth % fields[1] or y.shape.c % fields[2])
        whole = whole and x.shape.c % 4 == 0
        name = f"arm_convolve_HWC_{widths}"
    return name if square and whole else ""


def as_computed(graph: QuantGraph) -> QuantGraph:
    """The network with the library's requantization where the library computes.

    Integers of this network are those that the engine must give. The library rounds down; half an
    output step in the bias makes that a rounding to nearest.

    Raises:
        ModelError: a width other than 8, 4 or 2.
        NumericsError: a scale or bias that the library's format cannot hold.
    """
    check_widths(graph)
    ops = [
        replace(op, requantize=_icn(graph, op)) if function_for(graph, op) else op
        for op in graph.ops
    ]
    return replace(graph, ops=tuple(ops))


def _icn(graph: QuantGraph, op: QWeighted) -> Requantize:
    x, y = graph.tensors[op.inputs[0]], graph.tensors[op.output]
    ratio = x.scale * np.asarray(op.weight_scale, np.float64) / y.scale
    exponent = int(np.frexp(ratio.max())[1])
    shift, pre_shift = max(-exponent - 1, 0), max(exponent + 1, 0)
    sums = op.weight.reshape(len(op.weight), -1).astype(np.int64).sum(1)
    bias = np.rint((np.asarray(op.bias, np.float64) / y.scale + 0.5) / ratio)
    peak = x.qmax * np.abs(op.weight.astype(np.int64)).reshape(len(sums), -1).sum(1) + np.abs(bias)
    if shift > 31 or not (np.isfinite(peak).all() and peak.max() * 2.0**pre_shift < 2.0**31):
        raise NumericsError(
            f"'{op.name}' cannot be requantized by {NAME}: its sums and biases leave 32 bits. "
            "Give its output a larger step."
        )
    multiplier = np.minimum(np.rint(ratio * 2.0 ** (32 + shift - pre_shift)), 2**31 - 1)
    return Requantize(
        start=bias.astype(np.int64) - x.zero_point * sums,
        multiplier=multiplier.astype(np.int32),
        offset=np.full(len(sums), y.zero_point << shift, np.int32),
        pre_shift=pre_shift,
        shift=shift,
        bits=y.bits,
    )


def generate(graph: QuantGraph, library: Library) -> Sources:
    """Sources of a network of 8, 4 and 2 bits on the library; they compile for Arm only.

    Raises:
        ModelError: another width, or an operator without a kernel.
        NumericsError: a scale or bias that the library's format cannot hold.
        ConfigError: the library is not as this adapter needs it.
    """
    version = version_of(library)
    computed = as_computed(graph)
    functions = {op.name: function_for(graph, op) for op in graph.ops}
    called = {name for name in functions.values() if name}
    library.check_functions(_HEADER, dict.fromkeys(sorted(called), _TYPES))
    arena = plan_network(graph, {op.name: _buffer_bytes(graph, op) for op in graph.ops})
    layers, infos, others = emit_mixed(
        computed.ops,
        functions,
        lambda op, function: _emit(computed, arena, op, function),
        lambda op: emit(computed, arena, op),
    )
    title = f"{graph.name} on {NAME} {version}: dense 8, 4 and 2 bits, its public API."
    prototypes, kernels = kernel_sources(others)
    head = "\n".join((_HEAD, "", *prototypes))
    directory = f"{library.key}/freestanding"
    system = ("-isystem", f"{library.key}/Include", "-idirafter", directory, "-DARM_MATH_DSP")
    return Sources(
        engine=ENGINE_NAME,
        model=graph.name,
        policy=str(graph.policy),
        files=(
            # Its header writes `asm`, which is no keyword of strict C.
            SourceFile("model.c", model_source(title, head, layers), ("-std=gnu11", *system)),
            SourceFile("model.h", model_header(graph, arena, title)),
            *freestanding_headers(directory, "c", "cmsis"),
            *kernels,
            # Some files of release 1.0.0 have their includes inside a comment.
            *library.sources_for(called, (*system, "-include", "arm_cmixnn.h")),
        ),
        layers=tuple(infos),
        arena_bytes=arena.total_bytes,
        scratch_bytes=max((info.scratch_bytes for info in infos), default=0),
        note=library.note(version, infos, called),
    )


def _buffer_bytes(graph: QuantGraph, op: QOp) -> int:
    """The columns, and what the library writes behind them.

    Its widening of 2-bit runs takes what exceeds multiples of 0x16 values (of 16, were it decimal)
    for a rest, and writes that many values more.
    """
    x = graph.tensors[op.inputs[0]]
    behind = 0
    if isinstance(op, QConv2d) and x.bits == 2:
        behind = max(2 * (run * x.shape.c % 0x16) for run in (1, op.window.kernel_w))
    return scratch_bytes(op, x) + behind


def _emit(
    graph: QuantGraph, arena: TensorArena, op: QConv2d | QDepthwiseConv2d, function: str
) -> tuple[str, str, LayerInfo]:
    """A layer's constants, the body of its function, and what a profile says of it."""
    x, y = graph.tensors[op.inputs[0]], graph.tensors[op.output]
    name, window = identifier(op), op.window
    if isinstance(op, QDepthwiseConv2d):
        rows = depthwise_rows(op.weight, op.w_bits)
    else:
        rows = convolution_rows(op.weight, op.w_bits, x.bits)
    constants = op.requantize
    sums = op.weight.reshape(len(op.weight), -1).astype(np.int64).sum(1)
    n_zero = np.full(len(sums), constants.shift - constants.pre_shift)
    declarations = "\n".join(
        (
            array("uint8_t", f"{name}_weight", rows),
            array("int32_t", f"{name}_bias", constants.start + x.zero_point * sums),
            array("int32_t", f"{name}_multiplier", constants.multiplier),
            array("int8_t", f"{name}_shift", n_zero),
        )
    )
    scratch = _buffer_bytes(graph, op)
    pads = (window.pad_left, window.pad_right, window.pad_top, window.pad_bottom)
    arguments = (
        _at(arena, op.inputs[0]),
        *(x.shape.h, x.shape.c),
        f"{name}_weight",
        *(y.shape.c, window.kernel_h, *pads, window.stride_h),
        f"{name}_bias",
        _at(arena, op.output),
        *(y.shape.h, x.zero_point, 1 << (op.w_bits - 1), y.zero_point),
        f"{name}_multiplier",
        f"{name}_shift",
        f"(int16_t *)(mcuq_arena + {arena.offsets[scratch_name(op)]})",
        0,
    )
    call = f"expect_success({function}({', '.join(map(str, arguments))}));"
    info = LayerInfo(
        name=op.name,
        op=op.op,
        policy=f"w{op.w_bits}a{x.bits}",
        kernel=function,
        packing="",
        macs=graph.macs(op),
        weights_bytes=rows.size + 9 * len(sums),
        scratch_bytes=scratch,
    )
    return declarations, call, info


def _at(arena: TensorArena, name: str) -> str:
    return f"(uint8_t *)(mcuq_arena + {arena.offsets[name]})"
