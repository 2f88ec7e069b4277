"""C for a network on TinyEngine's algorithms: kernels made for its shapes, depthwise in place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from mcuq_lab.baselines.c_text import (
    array,
    identifier,
    info_without_weights,
    model_header,
    model_source,
    shared_kernels,
)
from mcuq_lab.baselines.nearest_forms import nearest_forms
from mcuq_lab.baselines.tensor_arena import Buffer, TensorArena, plan_greedily, scratch_name
from mcuq_lab.baselines.tinyengine.network import (
    Kind,
    TinyNetwork,
    to_tinyengine,
    window_of,
)
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

ENGINE_NAME = "tinyengine"
NOTE = "re-implementation of TinyEngine's published algorithms, within 10 % of the library"
_NEAREST = {
    QFullyConnected: "as a 1x1 convolution",
    QAdd: "in float32",
    QAveragePool: "as a plain loop",
    QMaxPool: "as a plain loop",
    QConcat: "as copies on CMSIS-NN's kernel",
}
"""Operators that are not run as the convolutions are."""
UNROLLED_DEPTHS = (16, 24, 48)
"""Input channels for which the library unrolls the inner loop of a 1x1 convolution."""

_HEADERS = ("te_layers.h", "te_round.h")
_PLAIN_HEADERS = ("cn_support.h", "cn_layers.h", "cn_output.h")
_PLAIN = "cn_small_layers_s8.c"


def generate(graph: QuantGraph) -> Sources:
    """Sources of a w8a8 network on this engine's kernels.

    Raises:
        ModelError: a width other than 8, or an operator without a kernel.
        NumericsError: a scale that the format cannot hold.
    """
    network = to_tinyengine(graph)
    arena = plan(network)
    emitted = [emit(network, arena, op) for op in graph.ops]
    title = f"{graph.name} on TinyEngine's algorithms: int8, depthwise layers in place."
    layers = [(layer.declarations, layer.call) for layer in emitted]
    prototypes, kernels = kernel_sources(emitted)
    head = "\n".join(('#include "cn_layers.h"', '#include "te_layers.h"', "", *prototypes))
    sources = [
        SourceFile("model.c", model_source(title, head, layers)),
        SourceFile("model.h", model_header(graph, arena, title)),
        *kernels,
    ]
    return Sources(
        engine=ENGINE_NAME,
        model=graph.name,
        policy=str(graph.policy),
        files=tuple(sources),
        layers=tuple(layer.info for layer in emitted),
        arena_bytes=arena.total_bytes,
        scratch_bytes=max((layer.info.scratch_bytes for layer in emitted), default=0),
        signed_io=True,
        note="; ".join(filter(None, (NOTE, nearest_forms(graph, _NEAREST)))),
    )


def kernel_sources(emitted: Sequence[Emitted]) -> tuple[list[str], list[SourceFile]]:
    """Prototypes of the kernels that these layers call, and the files that define them."""
    kernels = {layer.kernel.file: layer.kernel for layer in emitted}
    prototypes = [kernel.prototype for _, kernel in sorted(kernels.items()) if kernel.template]
    own = files("mcuq_lab.baselines.tinyengine").joinpath("kernels")
    plain = files("mcuq_lab.baselines.cmsis_nn").joinpath("kernels")
    headers = {*_HEADERS, *(kernel.template for kernel in kernels.values())} - {""}
    sources = [
        *shared_kernels(),
        *(SourceFile(name, plain.joinpath(name).read_text()) for name in _PLAIN_HEADERS),
        *(SourceFile(name, own.joinpath(name).read_text()) for name in sorted(headers)),
    ]
    for name, kernel in sorted(kernels.items()):
        where = plain if name == _PLAIN else own
        text = kernel.instance if kernel.template else where.joinpath(name).read_text()
        sources.append(SourceFile(name, text))
    return prototypes, sources


@dataclass(frozen=True)
class _Kernel:
    """A C function, and the file it is in or the template and constants it is made of."""

    name: str
    file: str
    template: str = ""
    constants: tuple[tuple[str, int], ...] = ()

    @property
    def prototype(self) -> str:
        kind = "int8_t" if self.template == "te_depthwise.h" else "int16_t"
        return (
            f"void {self.name}(const te_layer *layer, const int8_t *in, {kind} *scratch, "
            "int8_t *out);"
        )

    @property
    def instance(self) -> str:
        defines = "".join(f"#define {name} {value}\n" for name, value in self.constants)
        return f'#define TE_NAME {self.name}\n{defines}#include "{self.template}"\n'


@dataclass(frozen=True)
class Emitted:
    """One operator: constants, the body of its function, its kernel, and its LayerInfo."""

    declarations: str
    call: str
    kernel: _Kernel
    info: LayerInfo


def scratch_bytes(network: TinyNetwork, op: QOp) -> int:
    """Two im2col columns of int16; one padded plane of int8 for a depthwise layer.

    A first layer's weights lie behind its columns, as int16.
    """
    if not isinstance(op, QWeighted):
        return 0
    shape, window = network.tensors[op.inputs[0]].shape, window_of(op)
    if network.layers[op.name].kind is Kind.DEPTHWISE:
        rows = window.pad_top + shape.h + window.pad_bottom
        return rows * (window.pad_left + shape.w + window.pad_right)
    columns = 2 * 2 * window.kernel_h * window.kernel_w * shape.c
    return columns + (2 * op.weight.size if _is_first_layer(op) else 0)


def _is_first_layer(op: QWeighted) -> bool:
    """Whether it is a 3x3 convolution of three channels."""
    return isinstance(op, QConv2d) and op.weight.shape[1:] == (3, 3, 3)


def plan(network: TinyNetwork) -> TensorArena:
    """Greedy; the output of a depthwise layer lies where its input lay, if that is free then."""
    graph = network.graph
    first, last = {graph.input_name: 0}, {graph.input_name: 0}
    for step, op in enumerate(graph.ops):
        first[op.output] = last[op.output] = step
        for name in op.inputs:
            last[name] = step
    last[graph.output_name] = len(graph.ops)
    home = {name: name for name in graph.tensors}
    buffers = []
    for step, op in enumerate(graph.ops):
        scratch = scratch_bytes(network, op)
        if scratch:
            buffers.append(Buffer(scratch_name(op), scratch, step, step))
        if isinstance(op, QDepthwiseConv2d) and last[op.inputs[0]] == step:
            home[op.output] = home[op.inputs[0]]
    for name in set(home.values()):
        tenants = [tensor for tensor in graph.tensors if home[tensor] == name]
        size = max(graph.tensors[tensor].shape.size for tensor in tenants)
        steps = [first[tensor] for tensor in tenants], [last[tensor] for tensor in tenants]
        buffers.append(Buffer(name, size, min(steps[0]), max(steps[1])))
    arena = plan_greedily(buffers)
    offsets = dict(arena.offsets) | {name: arena.offsets[home[name]] for name in home}
    return TensorArena(offsets, arena.total_bytes)


def emit(network: TinyNetwork, arena: TensorArena, op: QOp) -> Emitted:
    """One operator on this engine's kernels."""
    for kind, make in _EMITTERS:
        if isinstance(op, kind):
            return make(network, arena, op)
    return _emit_copy(network, arena, op)


def _at(arena: TensorArena, name: str, kind: str = "int8_t") -> str:
    return f"({kind} *)(mcuq_arena + {arena.offsets[name]})"


def _kernel(network: TinyNetwork, op: QWeighted) -> _Kernel:
    kind, window = network.layers[op.name].kind, window_of(op)
    if kind is Kind.CONVOLVE:
        name = "te_convolve_3_channels" if _is_first_layer(op) else "te_convolve"
        return _Kernel(name, f"{name}.c")
    labels = ("TE_KERNEL_H", "TE_KERNEL_W", "TE_STRIDE_H", "TE_STRIDE_W")
    strides = (window.stride_h, window.stride_w)
    if kind is Kind.POINTWISE:
        in_c = network.tensors[op.inputs[0]].shape.c
        depth = in_c if in_c in UNROLLED_DEPTHS else 0
        name = "te_convolve_1x1" + (f"_{depth}" if depth else "")
        if strides != (1, 1):
            name += "_s{}{}".format(*strides)
        constants = zip(("TE_DEPTH", *labels[2:]), (depth, *strides), strict=True)
        return _Kernel(name, f"{name}.c", "te_convolve_1x1.h", tuple(constants))
    shape = (window.kernel_h, window.kernel_w, *strides)
    name = "te_depthwise_{}x{}_s{}{}".format(*shape)
    return _Kernel(name, f"{name}.c", "te_depthwise.h", tuple(zip(labels, shape, strict=True)))


def _emit_weighted(network: TinyNetwork, arena: TensorArena, op: QWeighted) -> Emitted:
    source, out = network.tensors[op.inputs[0]], network.tensors[op.output]
    layer, name, window = network.layers[op.name], identifier(op), window_of(op)
    kernel = _kernel(network, op)
    arrays = [
        array("int8_t", f"{name}_weight", layer.weight),
        array("int32_t", f"{name}_bias", layer.bias),
    ]
    if layer.kind is Kind.CONVOLVE:
        arrays.append(array("int32_t", f"{name}_multiplier", layer.multiplier))
        arrays.append(array("int32_t", f"{name}_shift", layer.shift))
        scaling = f".multiplier = {name}_multiplier, .shift = {name}_shift,"
    else:
        arrays.append(array("float", f"{name}_scale", hex_floats(layer.scale)))
        scaling = f".scale = {name}_scale,"
    if layer.kind is Kind.DEPTHWISE:  # its plane holds the inputs as they are
        sums = layer.weight.reshape(len(layer.weight), -1).astype(np.int64).sum(1)
        arrays.append(array("int32_t", f"{name}_zero_bias", -source.zero_point * sums))
        scaling += f" .zero_bias = {name}_zero_bias,"
    s, o = source.shape, out.shape
    parameters = f"""static const te_layer {name} = {{
    .in_h = {s.h}, .in_w = {s.w}, .in_c = {s.c},
    .out_h = {o.h}, .out_w = {o.w}, .out_c = {o.c},
    .kernel_h = {window.kernel_h}, .kernel_w = {window.kernel_w},
    .stride_h = {window.stride_h}, .stride_w = {window.stride_w},
    .pad_top = {window.pad_top}, .pad_bottom = {window.pad_bottom},
    .pad_left = {window.pad_left}, .pad_right = {window.pad_right},
    .in_zero = {source.zero_point}, .out_zero = {out.zero_point},
    .act_min = -128, .act_max = 127,
    .weight = {name}_weight, .bias = {name}_bias,
    {scaling}
}};"""
    scratch = _at(arena, scratch_name(op), "int8_t" if layer.kind is Kind.DEPTHWISE else "int16_t")
    source_at, out_at = _at(arena, op.inputs[0]), _at(arena, op.output)
    call = f"{kernel.name}(&{name}, {source_at}, {scratch}, {out_at});"
    per_channel = 8 if layer.kind is Kind.POINTWISE else 12
    info = LayerInfo(
        name=op.name,
        op=op.op,
        policy="w8a8",
        kernel=kernel.name,
        packing="",
        macs=network.graph.macs(op),
        weights_bytes=layer.weight.size + per_channel * len(layer.bias),
        scratch_bytes=scratch_bytes(network, op),
    )
    return Emitted("\n".join((*arrays, parameters)), call, kernel, info)


def hex_floats(values: Iterable[float]) -> np.ndarray:
    """As C literals that lose no bit."""
    return np.array([float(value).hex() + "f" for value in values], dtype=object)


def _emit_add(network: TinyNetwork, arena: TensorArena, op: QAdd) -> Emitted:
    a, b, out = (network.tensors[name] for name in (*op.inputs, op.output))
    factors, name = network.additions[op.name], identifier(op)
    scale_a, scale_b, scale = hex_floats([factors.scale_a, factors.scale_b, factors.scale])
    parameters = f"""static const te_addition {name} = {{
    .zero_a = {a.zero_point}, .zero_b = {b.zero_point}, .zero = {out.zero_point},
    .scale_a = {scale_a}, .scale_b = {scale_b}, .scale = {scale},
}};"""
    call = (
        f"te_add(&{name}, {_at(arena, op.inputs[0])}, {_at(arena, op.inputs[1])}, "
        f"{_at(arena, op.output)}, {out.shape.size});"
    )
    return Emitted(
        parameters, call, _Kernel("te_add", "te_add.c"), info_without_weights(op, "te_add")
    )


def _emit_pool(network: TinyNetwork, arena: TensorArena, op: QAveragePool | QMaxPool) -> Emitted:
    source, out = network.tensors[op.inputs[0]].shape, network.tensors[op.output].shape
    name, window = identifier(op), op.window
    kernel = "te_max_pool" if isinstance(op, QMaxPool) else "te_average_pool"
    parameters = f"""static const cn_pool {name} = {{
    .in_h = {source.h}, .in_w = {source.w}, .channels = {source.c},
    .out_h = {out.h}, .out_w = {out.w},
    .kernel_h = {window.kernel_h}, .kernel_w = {window.kernel_w},
    .stride_h = {window.stride_h}, .stride_w = {window.stride_w},
    .act_min = -128, .act_max = 127,
}};"""
    call = f"{kernel}(&{name}, {_at(arena, op.inputs[0])}, {_at(arena, op.output)});"
    return Emitted(parameters, call, _Kernel(kernel, "te_pool.c"), info_without_weights(op, kernel))


def _emit_concat(network: TinyNetwork, arena: TensorArena, op: QConcat) -> Emitted:
    out = network.tensors[op.output].shape
    calls, first = [], 0
    for source in op.inputs:
        in_c = network.tensors[source].shape.c
        target = f"{_at(arena, op.output)} + {first}"
        calls.append(
            f"cn_concatenate_s8({_at(arena, source)}, {target}, {out.h * out.w}, {in_c}, {out.c});"
        )
        first += in_c
    kernel = "cn_concatenate_s8"
    return Emitted(
        "", "\n    ".join(calls), _Kernel(kernel, _PLAIN), info_without_weights(op, kernel)
    )


def _emit_copy(network: TinyNetwork, arena: TensorArena, op: QOp) -> Emitted:
    size = network.tensors[op.output].shape.size
    call = f"cn_copy_s8({_at(arena, op.inputs[0])}, {_at(arena, op.output)}, {size});"
    return Emitted("", call, _Kernel("cn_copy_s8", _PLAIN), info_without_weights(op, "cn_copy_s8"))


_EMITTERS: tuple[tuple[type, Callable[..., Emitted]], ...] = (
    (QWeighted, _emit_weighted),
    (QAdd, _emit_add),
    (QAveragePool, _emit_pool),
    (QMaxPool, _emit_pool),
    (QConcat, _emit_concat),
)
