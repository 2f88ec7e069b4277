"""Static checks: a quantized network stays inside the limits of `mcuq_lab.quantgraph`.

All bounds hold for *every* input, not for some calibration data, so nothing has to be checked while
a network runs.
"""

from __future__ import annotations

import numpy as np

from mcuq_lab.errors import NumericsError
from mcuq_lab.graph import Shape
from mcuq_lab.quantgraph import (
    STORAGE_BITS,
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
    Requantize,
)

_INT31 = 1 << 31
_NEXT_STEP = "Quantize the network again; if it was built by hand, see mcuq_lab.quantgraph."


def accumulator_peak(weight: np.ndarray, amax: int) -> np.ndarray:
    """`amax * sum|w|`, int64 (oc,): the largest `acc + start`, and a bound on every |acc|."""
    return amax * np.abs(weight.astype(np.int64)).reshape(len(weight), -1).sum(1)


def accumulator_start(weight: np.ndarray, amax: int) -> np.ndarray:
    """`amax * sum(max(-w, 0))`, int64 (oc,): what makes `acc + start` non-negative."""
    return amax * np.maximum(-weight.astype(np.int64), 0).reshape(len(weight), -1).sum(1)


def check_ranges(graph: QuantGraph) -> None:
    """Raises NumericsError, with the place, where `graph` leaves the specification."""
    for tensor in graph.tensors.values():
        _check_tensor(tensor)
    for op in graph.ops:
        sources = tuple(graph.tensors[name] for name in op.inputs)
        output = graph.tensors[op.output]
        expected = _expected_shape(op, sources)
        if output.shape != expected:
            raise _error(op, f"writes {output.shape}, its inputs give {expected}")
        if isinstance(op, QWeighted):
            _check_weighted(op, sources[0], output)
        elif isinstance(op, QAveragePool):
            peak = np.array([sources[0].qmax * op.window.kernel_h * op.window.kernel_w])
            _check_requantize(op, op.requantize, np.zeros(1, np.int64), peak, output)
        elif isinstance(op, QAdd):
            _check_add(op, sources, output)
        else:
            _check_same_map(op, sources, output)


def _error(op: QOp, what: str) -> NumericsError:
    return NumericsError(f"{op.op} '{op.name}': {what}. {_NEXT_STEP}")


def _check_tensor(tensor: QTensor) -> None:
    if tensor.bits not in STORAGE_BITS:
        raise NumericsError(f"Tensor '{tensor.name}' has {tensor.bits} bits. {_NEXT_STEP}")
    if not 0 <= tensor.zero_point <= tensor.qmax:
        raise NumericsError(
            f"Tensor '{tensor.name}': zero point {tensor.zero_point} is outside "
            f"0..{tensor.qmax}. {_NEXT_STEP}"
        )
    if not (np.isfinite(tensor.scale) and tensor.scale > 0):
        raise NumericsError(f"Tensor '{tensor.name}': scale {tensor.scale}. {_NEXT_STEP}")


def _expected_shape(op: QOp, sources: tuple[QTensor, ...]) -> Shape:
    x = sources[0].shape
    if isinstance(op, QFlatten):
        return Shape(1, 1, x.size)
    if isinstance(op, QConcat):
        return Shape(x.h, x.w, sum(source.shape.c for source in sources))
    if isinstance(op, QAdd):
        return x
    channels = op.out_channels if isinstance(op, QWeighted) else x.c
    if isinstance(op, QFullyConnected):
        return Shape(1, 1, channels)
    return Shape(*op.window.output(x.h, x.w), channels)


def _check_weighted(op: QWeighted, source: QTensor, output: QTensor) -> None:
    depth = 1 if isinstance(op, QDepthwiseConv2d) else source.shape.c
    window = () if isinstance(op, QFullyConnected) else (op.window.kernel_h, op.window.kernel_w)
    expected = (op.out_channels, *window, depth)
    if op.weight.shape != expected:
        raise _error(op, f"weight is {op.weight.shape}, its input needs {expected}")
    limit = 1 << (op.w_bits - 1)
    if op.weight.size and not -limit <= op.weight.min() <= op.weight.max() < limit:
        raise _error(op, f"a weight does not fit into {op.w_bits} bits")
    start = accumulator_start(op.weight, source.qmax)
    peak = accumulator_peak(op.weight, source.qmax)
    _check_requantize(op, op.requantize, start, peak, output)


def _check_requantize(
    op: QOp, parameters: Requantize, start: np.ndarray, peak: np.ndarray, output: QTensor
) -> None:
    arrays = (parameters.start, parameters.multiplier, parameters.offset)
    if any(array.shape != start.shape for array in arrays):
        raise _error(op, f"requantization arrays must have the shape {start.shape}")
    if parameters.bits != output.bits:
        raise _error(op, f"requantizes to {parameters.bits} bits, its output has {output.bits}")
    if not np.array_equal(parameters.start, start):
        raise _error(op, "start is not amax * sum(max(-w, 0))")
    if not 0 <= parameters.shift <= 31 or parameters.pre_shift < 0:
        raise _error(op, f"shift {parameters.shift} or pre_shift {parameters.pre_shift}")
    multiplier = parameters.multiplier.astype(np.int64)
    if multiplier.min() < 0 or multiplier.max() >= _INT31:
        raise _error(op, "a multiplier is outside 0..2**31 - 1")
    if int(peak.max()) << parameters.pre_shift >= _INT31:
        raise _error(op, "(acc + start) << pre_shift can reach 2**31")
    largest = (((peak << parameters.pre_shift) * multiplier) >> 32) + parameters.offset
    if largest.max() >= _INT31 or parameters.offset.astype(np.int64).min() <= -_INT31:
        raise _error(op, "t + offset can leave 32 bits")


def _check_add(op: QAdd, sources: tuple[QTensor, ...], output: QTensor) -> None:
    if len(sources) != 2 or sources[0].shape != sources[1].shape:
        raise _error(op, "needs two operands of one shape")
    if op.bits != output.bits:
        raise _error(op, f"requantizes to {op.bits} bits, its output has {output.bits}")
    if not (0 <= op.multiplier_a < 1 << 15 and 0 <= op.multiplier_b < 1 << 15):
        raise _error(op, "a multiplier is outside 0..2**15 - 1")
    peak = sources[0].qmax * op.multiplier_a + sources[1].qmax * op.multiplier_b
    if not (op.offset > -_INT31 and op.offset + peak < _INT31 and 0 <= op.shift <= 31):
        raise _error(op, "the weighted sum can leave 32 bits")


def _check_same_map(op: QOp, sources: tuple[QTensor, ...], output: QTensor) -> None:
    expected = (output.bits, output.scale, output.zero_point)
    for source in sources:
        if (source.bits, source.scale, source.zero_point) != expected:
            raise _error(op, f"'{source.name}' and '{output.name}' differ in scale, zero or width")
    if isinstance(op, QConcat):
        if len({(source.shape.h, source.shape.w) for source in sources}) != 1:
            raise _error(op, "operands differ in height or width")
    elif not isinstance(op, QMaxPool | QFlatten):
        raise _error(op, "unknown operator")
