"""C for a network on the mixed-precision kernels: constants, one call a layer, a planned arena."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from mcuq_lab.baselines.cmix_nn.layout import column_depth, convolution_rows, depthwise_rows
from mcuq_lab.baselines.nearest_forms import nearest_forms, odd_channels, signed_inputs
from mcuq_lab.baselines.tensor_arena import TensorArena, plan_network, scratch_name
from mcuq_lab.errors import ModelError
from mcuq_lab.graph import Window
from mcuq_lab.quantgraph import (
    QAdd,
    QAveragePool,
    QConcat,
    QDepthwiseConv2d,
    QFlatten,
    QFullyConnected,
    QMaxPool,
    QOp,
    QTensor,
    QuantGraph,
    QWeighted,
)
from mcuq_lab.sources import LayerInfo, SourceFile, Sources

ENGINE_NAME = "cmix_nn"
WIDTHS = (8, 4, 2)
NOTE = "re-implementation of CMix-NN's published algorithms, within 10 % of the library"
_NEAREST = {
    QFullyConnected: "as a 1x1 convolution",
    QAdd: "as a plain loop",
    QAveragePool: "as a plain loop",
    QMaxPool: "as a plain loop",
    QConcat: "as copies",
}
"""Operators that the library has no kernels for."""

_HEADERS = ("cx_support.h", "cx_layers.h", "cx_output.h")


def generate(graph: QuantGraph) -> Sources:
    """Sources of a network whose weights and activations are 8, 4 or 2 bits wide.

    Raises:
        ModelError: another width, or an operator without a kernel.
    """
    check_widths(graph)
    arena = plan_network(
        graph, {op.name: scratch_bytes(op, graph.tensors[op.inputs[0]]) for op in graph.ops}
    )
    emitted = [emit(graph, arena, op) for op in graph.ops]
    title = f"{graph.name} on CMix-NN's algorithms: dense 8, 4 and 2 bits, one call a layer."
    layers = [(layer.declarations, layer.call) for layer in emitted]
    prototypes, kernels = kernel_sources(emitted)
    head = "\n".join(('#include "cx_layers.h"', '#include "cx_small_layers.h"', "", *prototypes))
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
        note=_note(graph),
    )


def _note(graph: QuantGraph) -> str:
    parts = (
        NOTE,
        nearest_forms(graph, _NEAREST),
        odd_channels(graph, 4, "with columns filled up to whole words"),
        signed_inputs(graph, "as unsigned ones with a zero point"),
    )
    return "; ".join(filter(None, parts))


def kernel_sources(emitted: Sequence[Emitted]) -> tuple[list[str], list[SourceFile]]:
    """Prototypes of the kernels that these layers call, and the files that define them."""
    kernels = {layer.kernel.file: layer.kernel for layer in emitted}
    prototypes = [kernel.prototype for _, kernel in sorted(kernels.items()) if kernel.prototype]
    texts = files("mcuq_lab.baselines.cmix_nn").joinpath("kernels")
    headers = {*_HEADERS, "cx_small_layers.h", *(k.template for k in kernels.values())} - {""}
    sources = shared_kernels()
    sources += [SourceFile(name, texts.joinpath(name).read_text()) for name in sorted(headers)]
    for name, kernel in sorted(kernels.items()):
        text = kernel.instance if kernel.template else texts.joinpath(name).read_text()
        sources.append(SourceFile(name, text))
    return prototypes, sources


@dataclass(frozen=True)
class _Kernel:
    """A function of the library: a template at three widths, or one of the small layers'."""

    name: str
    template: str = ""
    w_bits: int = 8
    in_bits: int = 8
    out_bits: int = 8

    @property
    def file(self) -> str:
        return f"{self.name}.c" if self.template else "cx_small_layers.c"

    @property
    def prototype(self) -> str:
        if not self.template:
            return ""
        kind = "uint8_t" if self.template == "cx_depthwise.h" else "int16_t"
        return (
            f"void {self.name}(const cx_layer *layer, const uint8_t *in, {kind} *columns, "
            "uint8_t *out);"
        )

    @property
    def instance(self) -> str:
        return (
            f"#define CX_NAME {self.name}\n#define CX_W_BITS {self.w_bits}\n"
            f"#define CX_IN_BITS {self.in_bits}\n#define CX_OUT_BITS {self.out_bits}\n"
            f'#include "{self.template}"\n'
        )


@dataclass(frozen=True)
class Emitted:
    """One operator: constants, the body of its function, its kernel, and its LayerInfo."""

    declarations: str
    call: str
    kernel: _Kernel
    info: LayerInfo


def check_widths(graph: QuantGraph) -> None:
    """Raises ModelError, with the place, if a weight or activation has another width."""
    for tensor in graph.tensors.values():
        if tensor.bits not in WIDTHS:
            raise ModelError(
                f"CMix-NN computes on 8, 4 or 2 bits; tensor '{tensor.name}' has {tensor.bits}. "
                "Measure this engine at a policy of these widths, for example w4a4."
            )
    for op in graph.layers:
        if op.w_bits not in WIDTHS:
            raise ModelError(
                f"CMix-NN computes with weights of 8, 4 or 2 bits; '{op.name}' has {op.w_bits}. "
                "Measure this engine at a policy of these widths, for example w4a4."
            )


def scratch_bytes(op: QOp, source: QTensor) -> int:
    """What the library's caller must provide: two columns of 16 bits."""
    if not isinstance(op, QWeighted):
        return 0
    window = _window(op)
    pixels, channels = window.kernel_h * window.kernel_w, source.shape.c
    if isinstance(op, QDepthwiseConv2d):
        return 2 * 2 * pixels * (-(-channels // 4) * 4)
    return 2 * 2 * column_depth(pixels, channels, op.w_bits)


def _window(op: QWeighted) -> Window:
    return Window(1, 1) if isinstance(op, QFullyConnected) else op.window


def emit(graph: QuantGraph, arena: TensorArena, op: QOp) -> Emitted:
    """One operator on this engine's kernels; raises ModelError if it has none."""
    for kind, make in _EMITTERS:
        if isinstance(op, kind):
            return make(graph, arena, op)
    raise ModelError(f"CMix-NN has no kernel for {op.op} '{op.name}'.")


def _at(arena: TensorArena, name: str, kind: str = "uint8_t") -> str:
    return f"({kind} *)(mcuq_arena + {arena.offsets[name]})"


def _emit_weighted(graph: QuantGraph, arena: TensorArena, op: QWeighted) -> Emitted:
    source, out, name = graph.tensors[op.inputs[0]], graph.tensors[op.output], identifier(op)
    window, constants = _window(op), op.requantize
    depthwise = isinstance(op, QDepthwiseConv2d)
    if depthwise:
        rows, block, stem = depthwise_rows(op.weight, op.w_bits), 4, "depthwise"
    else:
        weight = op.weight.reshape(len(op.weight), window.kernel_h, window.kernel_w, -1)
        rows, block, stem = convolution_rows(weight, op.w_bits, source.bits), 2, "convolve"
    widths = f"w{op.w_bits}a{source.bits}o{out.bits}"
    kernel = _Kernel(f"cx_{stem}_{widths}", f"cx_{stem}.h", op.w_bits, source.bits, out.bits)
    # The kernels sum w * (u - zero_point), the specification w * u.
    sums = op.weight.reshape(len(op.weight), -1).astype(np.int64).sum(1)
    start = constants.start + source.zero_point * sums
    depth = column_depth(window.kernel_h * window.kernel_w, source.shape.c, op.w_bits)
    arrays = [array("uint8_t", f"{name}_weight", rows)]
    for label, values in (
        ("start", start),
        ("multiplier", constants.multiplier),
        ("offset", constants.offset),
    ):
        arrays.append(array("int32_t", f"{name}_{label}", _padded(values, block)))
    s, o = source.shape, out.shape
    parameters = f"""static const cx_layer {name} = {{
    .in_h = {s.h}, .in_w = {s.w}, .in_c = {s.c},
    .out_h = {o.h}, .out_w = {o.w}, .out_c = {o.c},
    .kernel_h = {window.kernel_h}, .kernel_w = {window.kernel_w},
    .stride_h = {window.stride_h}, .stride_w = {window.stride_w},
    .pad_top = {window.pad_top}, .pad_left = {window.pad_left},
    .depth = {0 if depthwise else depth},
    .in_pixel_bytes = {source.pixel_bytes}, .out_pixel_bytes = {out.pixel_bytes},
    .in_zero = {source.zero_point},
    .pre_shift = {constants.pre_shift}, .shift = {constants.shift},
    .weight = {name}_weight, .start = {name}_start,
    .multiplier = {name}_multiplier, .offset = {name}_offset,
}};"""
    columns = _at(arena, scratch_name(op), "uint8_t" if depthwise else "int16_t")
    source_at, out_at = _at(arena, op.inputs[0]), _at(arena, op.output)
    call = f"{kernel.name}(&{name}, {source_at}, {columns}, {out_at});"
    info = LayerInfo(
        name=op.name,
        op=op.op,
        policy=f"w{op.w_bits}a{source.bits}",
        kernel=kernel.name,
        packing="",
        macs=graph.macs(op),
        weights_bytes=rows.size + 3 * 4 * len(_padded(start, block)),
        scratch_bytes=scratch_bytes(op, source),
    )
    return Emitted("\n".join((*arrays, parameters)), call, kernel, info)


def _padded(values: np.ndarray, block: int) -> np.ndarray:
    return np.pad(values, (0, -len(values) % block))


def _emit_add(graph: QuantGraph, arena: TensorArena, op: QAdd) -> Emitted:
    a, b = (graph.tensors[name] for name in op.inputs)
    out, name = graph.tensors[op.output], identifier(op)
    parameters = f"""static const cx_addition {name} = {{
    .pixels = {out.shape.h * out.shape.w}, .channels = {out.shape.c},
    .a_pixel_bytes = {a.pixel_bytes}, .b_pixel_bytes = {b.pixel_bytes},
    .out_pixel_bytes = {out.pixel_bytes},
    .multiplier_a = {op.multiplier_a}, .multiplier_b = {op.multiplier_b},
    .offset = {op.offset}, .shift = {op.shift},
}};"""
    call = (
        f"cx_add(&{name}, {_at(arena, op.inputs[0])}, {a.bits}, {_at(arena, op.inputs[1])}, "
        f"{b.bits}, {_at(arena, op.output)}, {out.bits});"
    )
    return _small(op, a, parameters, call, "cx_add")


def _emit_pool(graph: QuantGraph, arena: TensorArena, op: QAveragePool | QMaxPool) -> Emitted:
    source, out, name = graph.tensors[op.inputs[0]], graph.tensors[op.output], identifier(op)
    window, source_at, out_at = op.window, _at(arena, op.inputs[0]), _at(arena, op.output)
    scaling = ""
    if isinstance(op, QAveragePool):
        constants = op.requantize
        scaling = f"""
    .pre_shift = {constants.pre_shift}, .shift = {constants.shift},
    .multiplier = {int(constants.multiplier[0])}, .offset = {int(constants.offset[0])},"""
        kernel = "cx_average_pool"
        call = f"{kernel}(&{name}, {source_at}, {source.bits}, {out_at}, {out.bits});"
    else:
        kernel = "cx_max_pool"
        call = f"{kernel}(&{name}, {source_at}, {out_at}, {out.bits});"
    parameters = f"""static const cx_pool {name} = {{
    .in_w = {source.shape.w}, .channels = {source.shape.c},
    .out_h = {out.shape.h}, .out_w = {out.shape.w},
    .kernel_h = {window.kernel_h}, .kernel_w = {window.kernel_w},
    .stride_h = {window.stride_h}, .stride_w = {window.stride_w},
    .in_pixel_bytes = {source.pixel_bytes}, .out_pixel_bytes = {out.pixel_bytes},{scaling}
}};"""
    return _small(op, source, parameters, call, kernel)


def _emit_copy(graph: QuantGraph, arena: TensorArena, op: QConcat | QFlatten) -> Emitted:
    """Joins inputs by channels (concatenation) or one input's pixels into one (flattening)."""
    out, calls, first = graph.tensors[op.output], [], 0
    for source_name in op.inputs:
        source = graph.tensors[source_name]
        h, w, c = source.shape.h, source.shape.w, source.shape.c
        steps = range(h * w) if isinstance(op, QFlatten) else (0,)
        dense = c * source.bits % 8 == 0
        if isinstance(op, QFlatten) and dense:
            steps, c, pixels = (0,), h * w * c, 1
        else:
            pixels = 1 if isinstance(op, QFlatten) else h * w
        for step in steps:
            calls.append(
                f"cx_copy({_at(arena, source_name)} + {step * source.pixel_bytes}, "
                f"{source.pixel_bytes}, {_at(arena, op.output)}, {out.pixel_bytes}, {pixels}, "
                f"{c}, {first}, {source.bits});"
            )
            first += c
    source = graph.tensors[op.inputs[0]]
    return _small(op, source, "", "\n    ".join(calls), "cx_copy")


def _small(op: QOp, source: QTensor, parameters: str, call: str, kernel: str) -> Emitted:
    info = info_without_weights(op, kernel, f"a{source.bits}")
    return Emitted(parameters, call, _Kernel(kernel), info)


_EMITTERS: tuple[tuple[type, Callable[..., Emitted]], ...] = (
    (QWeighted, _emit_weighted),
    (QAdd, _emit_add),
    (QAveragePool, _emit_pool),
    (QMaxPool, _emit_pool),
    (QConcat, _emit_copy),
    (QFlatten, _emit_copy),
)
