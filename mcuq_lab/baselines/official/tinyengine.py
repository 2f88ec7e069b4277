"""C for a network on TinyEngine itself: the functions that its own code generator would call.

Written from `TinyEngine/include`, and from the calls that its code generator emits with float
requantization. Depthwise functions are not in the library's sources but written by that generator,
into its folder `codegen`, and work in place. What the library takes only in other shapes runs on
the re-implementation, and the note names it. Additions call `round` of a C library, whose place our
own takes, and are compiled without fused multiply-adds, so that their integers are the reference's.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mcuq_lab.baselines.c_text import (
    array,
    identifier,
    info_without_weights,
    model_header,
    model_source,
)
from mcuq_lab.baselines.official.library import Library, freestanding_headers
from mcuq_lab.baselines.official.mixed import emit_mixed
from mcuq_lab.baselines.tensor_arena import TensorArena, scratch_name
from mcuq_lab.baselines.tinyengine.codegen import (
    emit,
    hex_floats,
    kernel_sources,
    plan,
    scratch_bytes,
)
from mcuq_lab.baselines.tinyengine.network import Kind, TinyNetwork, to_tinyengine, window_of
from mcuq_lab.graph import Shape, Window
from mcuq_lab.quantgraph import (
    QAdd,
    QAveragePool,
    QDepthwiseConv2d,
    QMaxPool,
    QOp,
    QuantGraph,
    QWeighted,
)
from mcuq_lab.sources import LayerInfo, SourceFile, Sources

ENGINE_NAME = "tinyengine_official"
NAME = "TinyEngine"
FOLDERS = ("TinyEngine/include", "TinyEngine/src", "codegen")

POINTWISE_DEPTHS = (8, 16, 24, 48)
"""Input channels that have a 1x1 convolution of their own."""

_HEADER = "TinyEngine/include/tinyengine_function.h"
_GENERATED = "genInclude.h"
_U16, _I32, _IN = "const uint16_t", "const int32_t", "const q7_t *"
_BIAS, _FLOATS = "const int32_t *", "const float *"
_SIDES = f"{_U16}, {_U16}, {_U16}"
_LIMITS = f"{_I32}, {_I32}, {_I32}, {_I32}"

POINTWISE_TYPES = (
    f"{_IN}, {_SIDES}, {_IN}, {_BIAS}, {_FLOATS}, {_LIMITS}, q7_t *, {_SIDES}, q15_t *"
)
CONVOLVE_TYPES = (
    f"{_IN}, {_SIDES}, {_IN}, {_BIAS}, {_BIAS}, {_BIAS}, {_LIMITS}, q7_t *, {_SIDES}, q15_t *, q7_t"
)
FIRST_TYPES = CONVOLVE_TYPES.replace("q15_t *", "q15_t *, q15_t *")
POOL_TYPES = f"{_IN}, {_SIDES}, {_U16}, {_U16}, {_U16}, {_U16}, {_I32}, {_I32}, q7_t *"
ADD_TYPES = (
    "int, const int8_t *, const float, const float, const int8_t *, const float, const float, "
    "const float, const float, int8_t *"
)
DEPTHWISE_TYPES = (
    f"q7_t *, {_SIDES}, {_IN}, {_BIAS}, {_BIAS}, {_FLOATS}, {_LIMITS}, q7_t *, {_SIDES}, q15_t *, "
    "q7_t"
)

_HEAD = """#include "tinyengine_function.h"
#include "cn_layers.h"
#include "te_layers.h"

/* A refused call must not be measured. */
static inline void expect_success(tinyengine_status status)
{
    if (status != STATE_SUCCESS)
        __builtin_trap();
}
"""

_ROUND = """/* What stands in for a C library's. */
#include "te_round.h"

double round(double value);

double round(double value)
{
    return te_round(value);
}
"""
_ROUND_FILE = "c_round.c"


def version_of(library: Library) -> str:
    """ "(<digest of its files>)": TinyEngine has no version numbers.

    Raises:
        ConfigError: it is no TinyEngine.
    """
    library.text(_HEADER)
    return f"({library.digest})"


def function_for(network: TinyNetwork, arena: TensorArena, op: QOp) -> str:
    """The library's function for an operator; "" where it has none, or does not take its shape."""
    x, y = network.tensors[op.inputs[0]].shape, network.tensors[op.output].shape
    if isinstance(op, QAveragePool | QMaxPool):
        return _pool_function(op, y)
    if isinstance(op, QAdd):
        return "add_fpreq"
    if not isinstance(op, QWeighted):
        return ""
    window = window_of(op)
    size, stride = (window.kernel_h, window.kernel_w), window.stride_h
    if isinstance(op, QDepthwiseConv2d):
        pads = {window.pad_top, window.pad_bottom, window.pad_left, window.pad_right}
        same = size[0] == size[1] and stride == window.stride_w and pads == {(size[0] - 1) // 2}
        in_place = arena.offsets[op.inputs[0]] == arena.offsets[op.output]
        name = f"depthwise_kernel{size[0]}x{size[1]}_stride{stride}_inplace_CHW_fpreq"
        return name if same and in_place else ""
    if y.c % 2:
        return ""
    if _is_first(window) and x.c == 3 and x.h % 2 == 0 and x.w % 2 == 0:
        return "convolve_s8_kernel3_inputch3_stride2_pad1"
    if x.c % 4:
        return ""
    if network.layers[op.name].kind is Kind.POINTWISE and (stride, window.stride_w) == (1, 1):
        unrolled = f"_ch{x.c}" if x.c in POINTWISE_DEPTHS else ""
        return f"convolve_1x1_s8{unrolled}_fpreq"
    if window == Window.square(3, 1, 1) and min(x.h, x.w) > 1:
        return "convolve_s8_kernel3_stride1_pad1"
    return ""


def _pool_function(op: QAveragePool | QMaxPool, out: Shape) -> str:
    """Of windows side by side, or of one window."""
    window = op.window
    apart = (window.kernel_h, window.kernel_w) != (window.stride_h, window.stride_w)
    if window.padded or (apart and (out.h, out.w) != (1, 1)):
        return ""
    return "max_pooling" if isinstance(op, QMaxPool) else "avg_pooling"


def _is_first(window: Window) -> bool:
    """Whether it is one for three channels and stride 2, which pads above and on the left only."""
    sizes = (window.kernel_h, window.kernel_w), (window.stride_h, window.stride_w)
    return sizes == ((3, 3), (2, 2)) and (window.pad_top, window.pad_left) == (1, 1)


def _as_written(file: SourceFile) -> SourceFile:
    """The addition rounds each product, as its reference does; others may fuse multiply-adds."""
    if not file.name.endswith(".c") or "add_fpreq(" not in file.text:
        return file
    return replace(file, arguments=(*file.arguments, "-ffp-contract=off"))


def generate(graph: QuantGraph, library: Library) -> Sources:
    """Sources of a w8a8 network on the library; they compile for Arm only.

    Raises:
        ModelError: a width other than 8, or an operator without a kernel.
        NumericsError: a scale that the format cannot hold.
        ConfigError: the library is not as this adapter needs it.
    """
    version = version_of(library)
    network = to_tinyengine(graph)
    arena = plan(network)
    functions = {op.name: function_for(network, arena, op) for op in graph.ops}
    called = sorted({name for name in functions.values() if name})
    library.check_definitions({name: _types(name) for name in called})
    layers, infos, others = emit_mixed(
        graph.ops,
        functions,
        lambda op, function: _emit(network, arena, op, function),
        lambda op: emit(network, arena, op),
    )
    title = f"{graph.name} on {NAME} {version}: int8, what its code generator would call."
    prototypes, kernels = kernel_sources(others)
    declared = [f"tinyengine_status {name}({_types(name)});" for name in called]
    directory = f"{library.key}/freestanding"
    paths = ("-isystem", f"{library.key}/TinyEngine/include", "-idirafter", directory)
    files = [
        SourceFile(
            "model.c",
            model_source(title, "\n".join((_HEAD, *declared, *prototypes)), layers),
            paths,
        ),
        SourceFile("model.h", model_header(graph, arena, title)),
        *freestanding_headers(directory, "c", "cmsis"),
        *kernels,
        *map(_as_written, library.sources_for(called, paths)),
    ]
    if "add_fpreq" in called:
        files.append(SourceFile(_ROUND_FILE, _ROUND))
    if not any(path.endswith(_GENERATED) for path in library.files):
        files.append(SourceFile(f"{directory}/{_GENERATED}", "/* Nothing was generated. */\n"))
    return Sources(
        engine=ENGINE_NAME,
        model=graph.name,
        policy=str(graph.policy),
        files=tuple(files),
        layers=tuple(infos),
        arena_bytes=arena.total_bytes,
        scratch_bytes=max((info.scratch_bytes for info in infos), default=0),
        signed_io=True,
        note=library.note(version, infos, set(called)),
    )


_TYPES = {
    "add": ADD_TYPES,
    "depthwise": DEPTHWISE_TYPES,
    "convolve_1x1": POINTWISE_TYPES,
    "convolve_s8_kernel3_inputch3": FIRST_TYPES,
    "convolve_s8_kernel3_stride1": CONVOLVE_TYPES,
    "avg": POOL_TYPES,
    "max": POOL_TYPES,
}
"""Parameter types by how a function's name begins."""


def _types(function: str) -> str:
    return next(types for start, types in _TYPES.items() if function.startswith(start))


def _emit_pool(
    network: TinyNetwork, arena: TensorArena, op: QAveragePool | QMaxPool, function: str
) -> tuple[str, str, LayerInfo]:
    x, y = network.tensors[op.inputs[0]].shape, network.tensors[op.output].shape
    arguments = (
        f"(q7_t *)(mcuq_arena + {arena.offsets[op.inputs[0]]})",
        *(x.h, x.w, x.c, op.window.kernel_h, op.window.kernel_w, y.h, y.w, -128, 127),
        f"(q7_t *)(mcuq_arena + {arena.offsets[op.output]})",
    )
    call = f"{function}({', '.join(map(str, arguments))});"
    return "", call, info_without_weights(op, function)


def _emit_add(
    network: TinyNetwork, arena: TensorArena, op: QAdd, function: str
) -> tuple[str, str, LayerInfo]:
    a, b, y = (network.tensors[name] for name in (*op.inputs, op.output))
    factors = network.additions[op.name]
    scale_a, scale_b, scale = hex_floats([factors.scale_a, factors.scale_b, factors.scale])
    in_a, in_b, out = (
        f"(int8_t *)(mcuq_arena + {arena.offsets[name]})" for name in (*op.inputs, op.output)
    )
    arguments = (
        *(y.shape.size, in_a, scale_a, a.zero_point, in_b, scale_b, b.zero_point),
        *(scale, y.zero_point, out),
    )
    call = f"{function}({', '.join(map(str, arguments))});"
    return "", call, info_without_weights(op, function)


def _emit(
    network: TinyNetwork, arena: TensorArena, op: QOp, function: str
) -> tuple[str, str, LayerInfo]:
    """A layer's constants, the body of its function, and what a profile says of it.

    The library's additions and pools end without a return, whatever they are declared to give.
    """
    if isinstance(op, QAdd):
        return _emit_add(network, arena, op, function)
    if not isinstance(op, QWeighted):
        return _emit_pool(network, arena, op, function)
    x, y = network.tensors[op.inputs[0]], network.tensors[op.output]
    layer, name, types = network.layers[op.name], identifier(op), _types(function)
    bias, biases = layer.bias, [f"{name}_bias"]
    arrays = [array("int8_t", f"{name}_weight", layer.weight)]
    if types is DEPTHWISE_TYPES:
        sums = layer.weight.reshape(len(layer.weight), -1).astype(np.int64).sum(1)
        bias = bias - x.zero_point * sums
        # The generator splits it in two, which the function adds again.
        biases.append(f"{name}_rest")
        arrays.append(array("int32_t", f"{name}_rest", np.zeros_like(bias)))
    arrays.append(array("int32_t", f"{name}_bias", bias))
    if types in (CONVOLVE_TYPES, FIRST_TYPES):
        scaling = [f"{name}_shift", f"{name}_multiplier"]
        arrays.append(array("int32_t", f"{name}_multiplier", layer.multiplier))
        arrays.append(array("int32_t", f"{name}_shift", layer.shift))
    else:
        scaling = [f"{name}_scale"]
        literals = [float(value).hex() + "f" for value in layer.scale]
        arrays.append(array("float", f"{name}_scale", np.array(literals, dtype=object)))
    arguments = [
        f"(q7_t *)(mcuq_arena + {arena.offsets[op.inputs[0]]})",
        *(x.shape.w, x.shape.h, x.shape.c),
        f"{name}_weight",
        *biases,
        *scaling,
        *(y.zero_point, -x.zero_point, -128, 127),
        f"(q7_t *)(mcuq_arena + {arena.offsets[op.output]})",
        *(y.shape.w, y.shape.h, y.shape.c),
        f"(q15_t *)(mcuq_arena + {arena.offsets[scratch_name(op)]})",
    ]
    if types is FIRST_TYPES:
        behind = (
            arena.offsets[scratch_name(op)] + scratch_bytes(network, op) - 2 * layer.weight.size
        )
        arguments.append(f"(q15_t *)(mcuq_arena + {behind})")
    if types is not POINTWISE_TYPES:
        arguments.append(x.zero_point)
    call = f"{function}({', '.join(map(str, arguments))})"
    # A depthwise function ends without a return, whatever it is declared to give.
    call = f"{call};" if types is DEPTHWISE_TYPES else f"expect_success({call});"
    info = LayerInfo(
        name=op.name,
        op=op.op,
        policy="w8a8",
        kernel=function,
        packing="",
        macs=network.graph.macs(op),
        weights_bytes=layer.weight.size + (12 if len(arrays) == 4 else 8) * len(bias),
        scratch_bytes=scratch_bytes(network, op),
    )
    return "\n".join(arrays), call, info
