"""C for a network on the kernels: constants, one call a layer, an interpreter-like arena."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.resources import files

from mcuq_lab.baselines.c_text import (
    array,
    identifier,
    model_header,
    model_source,
    shared_kernels,
)
from mcuq_lab.baselines.cmsis_nn.layout import stored_weights
from mcuq_lab.baselines.cmsis_nn.tflite import (
    ADD_LEFT_SHIFT,
    QMAX,
    QMIN,
    Int8Network,
    to_tflite,
)
from mcuq_lab.baselines.nearest_forms import at_width
from mcuq_lab.baselines.tensor_arena import TensorArena, plan_network, scratch_name
from mcuq_lab.graph import Window
from mcuq_lab.quantgraph import (
    QAdd,
    QAveragePool,
    QConcat,
    QConv2d,
    QDepthwiseConv2d,
    QFullyConnected,
    QMaxPool,
    QOp,
    QuantGraph,
    QWeighted,
)
from mcuq_lab.sources import LayerInfo, SourceFile, Sources

ENGINE_NAME = "cmsis_nn"
NOTE = "re-implementation of CMSIS-NN's published algorithms, within 10 % of the library"

_ONE_SCALE_EACH = "with a scale for each output, where the library's 4-bit kernel has one for all"

_HEADERS = (
    "cn_support.h",
    "cn_layers.h",
    "cn_output.h",
    "cn_nibbles.h",
    "cn_column.h",
    "cn_depthwise_column.h",
)
"""Each behind those that it includes."""


def generate(graph: QuantGraph) -> Sources:
    """Sources of a network of 8-bit activations, and of weights of 8 or 4 bits in each layer.

    Raises:
        ModelError: another width, or an operator without a kernel.
        NumericsError: a scale that the format cannot hold.
    """
    network = to_tflite(graph)
    arena = plan_network(
        graph, {op.name: scratch_bytes(op, graph.tensors[op.inputs[0]].shape.c) for op in graph.ops}
    )
    emitted = [_emit(network, arena, op) for op in graph.ops]
    title = f"{graph.name} on CMSIS-NN's algorithms: int8, one call a layer, no tensor in place."
    layers = [(layer.declarations, layer.call) for layer in emitted]
    return Sources(
        engine=ENGINE_NAME,
        model=graph.name,
        policy=str(graph.policy),
        files=(
            SourceFile("model.c", model_source(title, '#include "cn_layers.h"', layers)),
            SourceFile("model.h", model_header(graph, arena, title)),
            *_kernel_sources({layer.file for layer in emitted}),
        ),
        layers=tuple(layer.info for layer in emitted),
        arena_bytes=arena.total_bytes,
        scratch_bytes=max((layer.info.scratch_bytes for layer in emitted), default=0),
        signed_io=True,
        note="; ".join(filter(None, (NOTE, at_width(graph, QFullyConnected, 4, _ONE_SCALE_EACH)))),
    )


def _kernel_sources(names: Iterable[str]) -> list[SourceFile]:
    """Kernels by file, behind the headers that they include, or that those include."""
    directory = files("mcuq_lab.baselines.cmsis_nn").joinpath("kernels")
    texts = {name: directory.joinpath(name).read_text() for name in (*_HEADERS, *sorted(names))}
    wanted = set(names)
    for name in reversed(texts):
        if any(f'#include "{name}"' in texts[user] for user in wanted):
            wanted.add(name)
    own = [SourceFile(name, text) for name, text in texts.items() if name in wanted]
    return [*shared_kernels(), *own]


class _Emitted:
    """One operator: constants, the body of its function, the kernel's file, and its LayerInfo."""

    def __init__(self, declarations: str, call: str, file: str, info: LayerInfo) -> None:
        self.declarations, self.call, self.file, self.info = declarations, call, file, info


def scratch_bytes(op: QOp, in_channels: int) -> int:
    """Scratch of an operator: im2col columns of int16, sums of int32.

    A convolution has two columns, at 8 bits each of a multiple of four values; a depthwise layer
    one, but none for 3x3 weights of 8 bits; an average pool a sum for each channel.
    """
    if isinstance(op, QConv2d) and not _is_pointwise(op.window):
        depth = op.window.kernel_h * op.window.kernel_w * in_channels
        return 2 * 2 * (depth if op.w_bits == 4 else -(-depth // 4) * 4)
    if isinstance(op, QDepthwiseConv2d) and not (op.w_bits == 8 and _is_three_by_three(op.window)):
        return 2 * op.window.kernel_h * op.window.kernel_w * in_channels
    return 4 * in_channels if isinstance(op, QAveragePool) else 0


def _is_pointwise(window: Window) -> bool:
    return (window.kernel_h, window.kernel_w) == (1, 1) and not window.padded


def _is_three_by_three(window: Window) -> bool:
    pads = (window.pad_top, window.pad_left, window.pad_bottom, window.pad_right)
    return (window.kernel_h, window.kernel_w) == (3, 3) and max(pads) <= 1


def _emit(network: Int8Network, arena: TensorArena, op: QOp) -> _Emitted:
    for kind, emit in _EMITTERS:
        if isinstance(op, kind):
            return emit(network, arena, op)
    return _emit_copy(network, arena, op)


def _at(arena: TensorArena, name: str, kind: str = "int8_t") -> str:
    return f"({kind} *)(mcuq_arena + {arena.offsets[name]})"


def _emit_weighted(network: Int8Network, arena: TensorArena, op: QWeighted) -> _Emitted:
    source, out = network.tensors[op.inputs[0]], network.tensors[op.output]
    layer, name = network.layers[op.name], identifier(op)
    window = Window(1, 1) if isinstance(op, QFullyConnected) else op.window
    scratch = scratch_bytes(op, source.shape.c)
    kernel, file = _kernel(op, window, layer.weight_bits)
    weight = stored_weights(layer)
    arrays = "\n".join(
        (
            array("int8_t", f"{name}_weight", weight),
            array("int32_t", f"{name}_bias", layer.bias),
            array("int32_t", f"{name}_multiplier", layer.multiplier),
            array("int32_t", f"{name}_shift", layer.shift),
        )
    )
    s, o = source.shape, out.shape
    parameters = f"""static const cn_layer {name} = {{
    .in_h = {s.h}, .in_w = {s.w}, .in_c = {s.c},
    .out_h = {o.h}, .out_w = {o.w}, .out_c = {o.c},
    .kernel_h = {window.kernel_h}, .kernel_w = {window.kernel_w},
    .stride_h = {window.stride_h}, .stride_w = {window.stride_w},
    .pad_top = {window.pad_top}, .pad_left = {window.pad_left},
    .in_offset = {-source.zero_point}, .out_offset = {out.zero_point},
    .act_min = {QMIN}, .act_max = {QMAX},
    .weight = {name}_weight, .bias = {name}_bias,
    .multiplier = {name}_multiplier, .shift = {name}_shift,
}};"""
    columns = f" {_at(arena, scratch_name(op), 'int16_t')}," if scratch else ""
    call = f"{kernel}(&{name}, {_at(arena, op.inputs[0])},{columns} {_at(arena, op.output)});"
    weights_bytes = weight.size + 12 * len(layer.bias)
    policy = f"w{layer.weight_bits}a8"
    info = _info(network, op, kernel, policy, weights_bytes, scratch)
    return _Emitted(f"{arrays}\n{parameters}", call, file, info)


def _kernel(op: QWeighted, window: Window, weight_bits: int) -> tuple[str, str]:
    """Entry point and file."""
    if isinstance(op, QFullyConnected):
        name = f"cn_fully_connected_s{weight_bits}"
        return name, "cn_small_layers_s8.c" if weight_bits == 8 else f"{name}.c"
    if isinstance(op, QDepthwiseConv2d):
        three = weight_bits == 8 and _is_three_by_three(window)
        name = "cn_depthwise_3x3" if three else "cn_depthwise"
        return f"{name}_s{weight_bits}", f"cn_depthwise_s{weight_bits}.c"
    name = f"cn_convolve_{'1x1_' if _is_pointwise(window) else ''}s{weight_bits}"
    return name, f"{name}.c"


def _emit_add(network: Int8Network, arena: TensorArena, op: QAdd) -> _Emitted:
    a, b = (network.tensors[name] for name in op.inputs)
    out, constants, name = network.tensors[op.output], network.additions[op.name], identifier(op)
    parameters = f"""static const cn_addition {name} = {{
    .in_offset_a = {-a.zero_point},
    .multiplier_a = {constants.a.multiplier}, .shift_a = {constants.a.shift},
    .in_offset_b = {-b.zero_point},
    .multiplier_b = {constants.b.multiplier}, .shift_b = {constants.b.shift},
    .left_shift = {ADD_LEFT_SHIFT}, .out_offset = {out.zero_point},
    .out_multiplier = {constants.out.multiplier}, .out_shift = {constants.out.shift},
    .act_min = {QMIN}, .act_max = {QMAX},
}};"""
    call = (
        f"cn_add_s8(&{name}, {_at(arena, op.inputs[0])}, {_at(arena, op.inputs[1])}, "
        f"{_at(arena, op.output)}, {out.shape.size});"
    )
    info = _info(network, op, "cn_add_s8", "a8", 0, 0)
    return _Emitted(parameters, call, "cn_small_layers_s8.c", info)


def _emit_pool(network: Int8Network, arena: TensorArena, op: QOp) -> _Emitted:
    source, out = network.tensors[op.inputs[0]].shape, network.tensors[op.output].shape
    name, window = identifier(op), op.window
    scratch = scratch_bytes(op, source.c)
    kernel = "cn_average_pool_s8" if scratch else "cn_max_pool_s8"
    parameters = f"""static const cn_pool {name} = {{
    .in_h = {source.h}, .in_w = {source.w}, .channels = {source.c},
    .out_h = {out.h}, .out_w = {out.w},
    .kernel_h = {window.kernel_h}, .kernel_w = {window.kernel_w},
    .stride_h = {window.stride_h}, .stride_w = {window.stride_w},
    .act_min = {QMIN}, .act_max = {QMAX},
}};"""
    sums = f" {_at(arena, scratch_name(op), 'int32_t')}," if scratch else ""
    call = f"{kernel}(&{name}, {_at(arena, op.inputs[0])},{sums} {_at(arena, op.output)});"
    info = _info(network, op, kernel, "a8", 0, scratch)
    return _Emitted(parameters, call, "cn_small_layers_s8.c", info)


def _emit_concat(network: Int8Network, arena: TensorArena, op: QConcat) -> _Emitted:
    out = network.tensors[op.output].shape
    calls, first = [], 0
    for source in op.inputs:
        in_c = network.tensors[source].shape.c
        target = f"{_at(arena, op.output)} + {first}"
        calls.append(
            f"cn_concatenate_s8({_at(arena, source)}, {target}, {out.h * out.w}, {in_c}, {out.c});"
        )
        first += in_c
    info = _info(network, op, "cn_concatenate_s8", "a8", 0, 0)
    return _Emitted("", "\n    ".join(calls), "cn_small_layers_s8.c", info)


def _emit_copy(network: Int8Network, arena: TensorArena, op: QOp) -> _Emitted:
    size = network.tensors[op.output].shape.size
    call = f"cn_copy_s8({_at(arena, op.inputs[0])}, {_at(arena, op.output)}, {size});"
    info = _info(network, op, "cn_copy_s8", "a8", 0, 0)
    return _Emitted("", call, "cn_small_layers_s8.c", info)


_EMITTERS: tuple[tuple[type, Callable[..., _Emitted]], ...] = (
    (QWeighted, _emit_weighted),
    (QAdd, _emit_add),
    (QAveragePool, _emit_pool),
    (QMaxPool, _emit_pool),
    (QConcat, _emit_concat),
)


def _info(
    network: Int8Network, op: QOp, kernel: str, policy: str, weights_bytes: int, scratch: int
) -> LayerInfo:
    return LayerInfo(
        name=op.name,
        op=op.op,
        policy=policy,
        kernel=kernel,
        packing="",
        macs=network.graph.macs(op),
        weights_bytes=weights_bytes,
        scratch_bytes=scratch,
    )
