"""The network in TensorFlow Lite's 8-bit terms: what CMSIS-NN computes with.

Source: "TensorFlow Lite 8-bit quantization specification". Activations are int8 with a zero point,
weights int8 or int4 with one scale for each output channel, biases int32 at scale s_x * s_w; a
requantization is a Q31 multiplier and a power of two. Pools keep their input's scale, as that
specification asks, so a pool's consumers read another scale here than in the `QuantGraph`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mcuq_lab.errors import ModelError, NumericsError
from mcuq_lab.graph import Shape
from mcuq_lab.quantgraph import (
    QAdd,
    QAveragePool,
    QConcat,
    QFlatten,
    QMaxPool,
    QOp,
    QTensor,
    QuantGraph,
    QWeighted,
)

QMIN, QMAX = -128, 127
WEIGHT_BITS = (8, 4)
"""Widths of weights that kernels exist for."""

ADD_LEFT_SHIFT = 20
"""Fractional bits of the operands of an addition (the specification's reference kernels)."""


@dataclass(frozen=True)
class Int8Tensor:
    """real = scale * (q - zero_point), q in -128..127."""

    name: str
    shape: Shape
    scale: float
    zero_point: int


@dataclass(frozen=True)
class Multiplier:
    """A positive real factor as multiplier / 2**31 * 2**shift, multiplier in 2**30..2**31-1."""

    multiplier: int
    shift: int


@dataclass(frozen=True, eq=False)
class Int8Layer:
    """Constants of a layer with weights: int8 weights in the kernel's order, int32 the rest.

    The weights' values fit into `weight_bits`, 8 or 4.
    """

    weight: np.ndarray
    weight_bits: int
    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray


@dataclass(frozen=True)
class Int8Add:
    """Constants of an addition."""

    a: Multiplier
    b: Multiplier
    out: Multiplier


@dataclass(frozen=True, eq=False)
class Int8Network:
    """Tensors and constants, by the names of the `QuantGraph` they were made of."""

    graph: QuantGraph
    tensors: Mapping[str, Int8Tensor]
    layers: Mapping[str, Int8Layer]
    additions: Mapping[str, Int8Add]


def to_tflite(graph: QuantGraph) -> Int8Network:
    """The int8 network of a graph whose activations have 8 bits, and each layer's weights 8 or 4.

    Raises:
        ModelError: a tensor or weight of another width, or an operator without a kernel.
        NumericsError: a bias or scale that TensorFlow Lite's format cannot hold.
    """
    for tensor in graph.tensors.values():
        if tensor.bits != 8:
            raise ModelError(
                f"CMSIS-NN computes on 8-bit activations; '{tensor.name}' has {tensor.bits}. "
                "Measure this engine at policy w8a8 or w4a8."
            )
    tensors: dict[str, Int8Tensor] = {graph.input_name: _tensor(graph.input)}
    layers: dict[str, Int8Layer] = {}
    additions: dict[str, Int8Add] = {}
    for op in graph.ops:
        sources = [tensors[name] for name in op.inputs]
        tensors[op.output] = out = _output(op, graph.tensors[op.output], sources)
        if isinstance(op, QWeighted):
            layers[op.name] = _layer(op, sources[0], out)
        elif isinstance(op, QAdd):
            additions[op.name] = _addition(*sources, out)
        elif not isinstance(op, QAveragePool | QMaxPool | QConcat | QFlatten):
            raise ModelError(f"CMSIS-NN has no kernel for {op.op} '{op.name}'.")
    return Int8Network(graph, tensors, layers, additions)


def multiplier_of(factor: float) -> Multiplier:
    """The fixed-point form of a positive factor; raises NumericsError for any other."""
    if not (math.isfinite(factor) and factor > 0):
        raise NumericsError(f"A requantization factor is {factor}; it must be positive. Calibrate.")
    mantissa, exponent = math.frexp(factor)
    fixed = round(mantissa * (1 << 31))
    if fixed == 1 << 31:
        fixed, exponent = fixed // 2, exponent + 1
    if exponent < -31:
        return Multiplier(0, 0)
    return Multiplier(fixed, exponent)


def _tensor(tensor: QTensor) -> Int8Tensor:
    return Int8Tensor(tensor.name, tensor.shape, tensor.scale, tensor.zero_point + QMIN)


def _output(op: QOp, tensor: QTensor, sources: list[Int8Tensor]) -> Int8Tensor:
    if isinstance(op, QAveragePool | QMaxPool | QFlatten | QConcat):
        first = sources[0]
        if any((s.scale, s.zero_point) != (first.scale, first.zero_point) for s in sources):
            raise ModelError(f"{op.op} '{op.name}' joins tensors of different scales.")
        return Int8Tensor(tensor.name, tensor.shape, first.scale, first.zero_point)
    return _tensor(tensor)


def _layer(op: QWeighted, source: Int8Tensor, out: Int8Tensor) -> Int8Layer:
    if op.w_bits not in WEIGHT_BITS:
        raise ModelError(
            f"CMSIS-NN computes with weights of 8 or 4 bits; '{op.name}' has {op.w_bits}. "
            "Measure this engine at policy w8a8 or w4a8."
        )
    scale = source.scale * op.weight_scale
    bias = np.rint(op.bias / scale)
    if np.abs(bias).max() >= 2**31:
        raise NumericsError(f"A bias of '{op.name}' does not fit into 32 bits at its scale.")
    factors = [multiplier_of(float(factor)) for factor in scale / out.scale]
    weight = op.weight.astype(np.int8)
    if op.op == "DepthwiseConv2d":
        weight = weight[..., 0].transpose(1, 2, 0)  # c, kh, kw -> kh, kw, c
    return Int8Layer(
        weight=np.ascontiguousarray(weight),
        weight_bits=op.w_bits,
        bias=bias.astype(np.int32),
        multiplier=np.array([factor.multiplier for factor in factors], np.int32),
        shift=np.array([factor.shift for factor in factors], np.int32),
    )


def _addition(a: Int8Tensor, b: Int8Tensor, out: Int8Tensor) -> Int8Add:
    twice_max = 2.0 * max(a.scale, b.scale)
    return Int8Add(
        a=multiplier_of(a.scale / twice_max),
        b=multiplier_of(b.scale / twice_max),
        out=multiplier_of(twice_max / ((1 << ADD_LEFT_SHIFT) * out.scale)),
    )
