"""The quantized network, and the exact integer arithmetic that every engine floor must reproduce.

Tensors
    Every activation is stored as an unsigned integer u of `bits` bits; its real value is
    `scale * (u - zero_point)`, 0 <= zero_point <= 2**bits - 1. Behind ReLU and ReLU6 the zero point
    is 0, so that the saturation of the requantization *is* the ReLU. In memory the channels of one
    pixel lie side by side in fields of `storage_bits` (2 -> 2; 3, 4 -> 4; 5..8 -> 8 bits), the
    lowest channel in the lowest bits; each pixel starts on a byte.

Weights
    Signed, symmetric, per output channel: -2**(w_bits-1) <= w <= 2**(w_bits-1) - 1.

Accumulator
    `acc[oc] = sum(w * u)` over the window, raw, without subtracting the zero point. A pixel in the
    padding counts as u = zero_point of the input. |acc| < 2**31 by construction.

Requantization (`Requantize`), the same for convolution, depthwise, fully connected and averages:

    t = (((acc + start) << pre_shift) * multiplier) >> 32      (64-bit product, floor)
    y = saturate((t + offset) >> shift, 0, 2**bits - 1)        (arithmetic shift: floor)

    `start[oc] = amax * sum(max(-w, 0))`, with amax = 2**a_bits - 1 of the input, makes acc + start
    non-negative for every input, so every packed field is, too; it is the accumulators' start
    value. Bias, both zero points, the share of `start` and the rounding half are folded into
    `offset`. 0 <= multiplier < 2**31; (acc + start) << pre_shift < 2**31; |t + offset| < 2**31.
    On a Cortex-M4 this is SMMLA and USAT with ASR.

Addition (`QAdd`)

    y = saturate((ua * multiplier_a + ub * multiplier_b + offset) >> shift, 0, 2**bits - 1)
    with 0 <= multiplier < 2**15: SMLAD and USAT.

Maximum pooling, flattening and concatenation leave integers as they are: their inputs and outputs
share scale, zero point and width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from mcuq_lab.errors import ModelError
from mcuq_lab.graph import Shape, Window
from mcuq_lab.policy import Policy

STORAGE_BITS = {2: 2, 3: 4, 4: 4, 5: 8, 6: 8, 7: 8, 8: 8}


@dataclass(frozen=True)
class QTensor:
    """A quantized activation: shape, width, and the affine map to real values."""

    name: str
    shape: Shape
    bits: int
    scale: float
    zero_point: int

    @property
    def qmax(self) -> int:
        """Largest stored value, 2**bits - 1."""
        return (1 << self.bits) - 1

    @property
    def storage_bits(self) -> int:
        """Width of the field that one element takes in memory: 2, 4 or 8."""
        return STORAGE_BITS[self.bits]

    @property
    def pixel_bytes(self) -> int:
        """Bytes from one pixel to the next."""
        return (self.shape.c * self.storage_bits + 7) // 8

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole tensor in memory."""
        return self.shape.h * self.shape.w * self.pixel_bytes


@dataclass(frozen=True, eq=False)
class Requantize:
    """Parameters of the requantization above; int32 arrays of shape (oc,)."""

    start: np.ndarray
    multiplier: np.ndarray
    offset: np.ndarray
    pre_shift: int
    shift: int
    bits: int


@dataclass(frozen=True, eq=False)
class QOp:
    """One integer operator; `inputs` and `output` name tensors."""

    name: str
    inputs: tuple[str, ...]
    output: str

    @property
    def op(self) -> str:
        """The operator's name as shown in tables."""
        return type(self).__name__.removeprefix("Q")


@dataclass(frozen=True, eq=False)
class QWeighted(QOp):
    """A layer with integer weights.

    `weight` is int8 in the layout of its float twin (OHWI; c, kh, kw, 1; oc, ic), `weight_scale`
    float64 of shape (oc,), `bias` float64 of shape (oc,) in real units: an engine with another
    requantization (a baseline) derives its own constants from these.
    """

    weight: np.ndarray
    w_bits: int
    weight_scale: np.ndarray
    bias: np.ndarray
    requantize: Requantize

    @property
    def out_channels(self) -> int:
        return int(self.weight.shape[0])


@dataclass(frozen=True, eq=False)
class QConv2d(QWeighted):
    """Dense convolution; weight OHWI."""

    window: Window


@dataclass(frozen=True, eq=False)
class QDepthwiseConv2d(QWeighted):
    """Depthwise convolution; weight (c, kh, kw, 1)."""

    window: Window


@dataclass(frozen=True, eq=False)
class QFullyConnected(QWeighted):
    """Matrix-vector product; weight (oc, ic)."""


@dataclass(frozen=True, eq=False)
class QAdd(QOp):
    """Sum of two tensors, requantized; see the module's text."""

    multiplier_a: int
    multiplier_b: int
    offset: int
    shift: int
    bits: int


@dataclass(frozen=True, eq=False)
class QAveragePool(QOp):
    """Sum over the window (the whole map for a global pool), then `requantize` (arrays of size 1,
    start 0)."""

    window: Window
    requantize: Requantize


@dataclass(frozen=True, eq=False)
class QMaxPool(QOp):
    """Maximum over the window."""

    window: Window


@dataclass(frozen=True, eq=False)
class QFlatten(QOp):
    """All elements as channels of one pixel. A copy only where pixels end inside a byte."""


@dataclass(frozen=True, eq=False)
class QConcat(QOp):
    """Channels of all inputs side by side."""


@dataclass(frozen=True, eq=False)
class QuantGraph:
    """An integer network: tensors, and operators in execution order.

    `policy` is the policy as asked for; a tensor that several layers read has the largest width
    that any of them asks for, so a layer's effective a_bits is the `bits` of its input tensor.

    Raises:
        ModelError: an operator reads a tensor that no earlier one writes.
    """

    name: str
    policy: Policy
    tensors: Mapping[str, QTensor]
    ops: tuple[QOp, ...]
    input_name: str
    output_name: str

    def __post_init__(self) -> None:
        written = {self.input_name}
        for op in self.ops:
            for source in op.inputs:
                if source not in written:
                    raise ModelError(f"{op.op} '{op.name}' reads '{source}' before it is written.")
            written.add(op.output)
        if self.output_name not in written:
            raise ModelError(f"No operator writes the output '{self.output_name}'.")

    @property
    def input(self) -> QTensor:
        return self.tensors[self.input_name]

    @property
    def output(self) -> QTensor:
        return self.tensors[self.output_name]

    @property
    def layers(self) -> tuple[QWeighted, ...]:
        """The operators with weights, in graph order."""
        return tuple(op for op in self.ops if isinstance(op, QWeighted))

    def effective_bits(self, op: QWeighted) -> tuple[int, int]:
        """(w_bits, a_bits) that `op` really computes with."""
        return op.w_bits, self.tensors[op.inputs[0]].bits

    def macs(self, op: QOp) -> int:
        """Multiply-accumulates of one operator in one inference."""
        if isinstance(op, QFullyConnected):
            return int(op.weight.size)
        if isinstance(op, QWeighted):
            out = self.tensors[op.output].shape
            return out.h * out.w * int(op.weight.size)
        return 0

    @cached_property
    def digest(self) -> str:
        """SHA-256 over everything that decides the integers."""
        state = hashlib.sha256(self.name.encode())
        for tensor in self.tensors.values():
            state.update(repr(tensor).encode())
        for op in self.ops:
            state.update(op.op.encode())
            _update(state, op)
        return state.hexdigest()


def op_digest(op: QOp, tensors: Iterable[QTensor]) -> str:
    """SHA-256 over one operator, constants included, and the tensors given."""
    state = hashlib.sha256(op.op.encode())
    for tensor in tensors:
        state.update(repr(tensor).encode())
    _update(state, op)
    return state.hexdigest()


def _update(state, value) -> None:
    for field in fields(value):
        item = getattr(value, field.name)
        state.update(field.name.encode() + b"=")
        if isinstance(item, np.ndarray):
            state.update(item.tobytes())
        elif isinstance(item, Requantize):
            _update(state, item)
        else:
            state.update(repr(item).encode())
