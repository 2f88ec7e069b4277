"""Families that remember: a search plans thousands of networks out of the same few layers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, wraps
from typing import Protocol, TypeVar

import numpy as np

from mcuq_lab.liteengine.lowering import Lowered
from mcuq_lab.quantgraph import QConv2d, QDepthwiseConv2d, QOp, QTensor, op_digest
from mcuq_lab.target import Target

T = TypeVar("T")

_MOST_CASES = 2048
"""Remembered for each family; a case takes some kilobytes, and its layer's weights."""

_MOST_WEIGHTS = 512
"""Weights whose packings are remembered, for each function."""

_MOST_SELECTIONS = 8192

_MOST_CONSTANTS = 1024
"""Of layers, each with some packing: some tens of kilobytes at most."""

_MOST_DIGESTS = 256
"""Each keeps its operator, and so its weights, alive."""


class _Family(Protocol):
    def __call__(
        self, op: QOp, tensors: Mapping[str, QTensor], target: Target, /
    ) -> tuple[Lowered, ...]: ...


@dataclass(frozen=True)
class _Case:
    """What a family is asked; equal where everything is equal that its answer depends on."""

    digest: str
    target: Target
    op: QOp = field(compare=False)
    tensors: Mapping[str, QTensor] = field(compare=False)


def remembered(family: _Family) -> _Family:
    """`family`, which works out an operator of the same name, tensors and constants once."""

    @lru_cache(maxsize=_MOST_CASES)
    def answer(case: _Case) -> tuple[Lowered, ...]:
        return family(case.op, case.tensors, case.target)

    def asked(op: QOp, tensors: Mapping[str, QTensor], target: Target, /) -> tuple[Lowered, ...]:
        own = {name: tensors[name] for name in (*op.inputs, op.output)}
        return answer(_Case(_digest(op, *own.values()), target, op, own))

    return asked


@lru_cache(maxsize=_MOST_DIGESTS)
def _digest(op: QOp, *tensors: QTensor) -> str:
    """`op_digest` of this very object: all families ask for it, one behind the other."""
    return op_digest(op, tensors)


@dataclass(frozen=True)
class _Weights:
    """Weights as what they are."""

    values: bytes
    shape: tuple[int, ...]
    dtype: str
    array: np.ndarray = field(compare=False)


def once_for_weights(packings: Callable[..., Iterable[T]]) -> Callable[..., tuple[T, ...]]:
    """`packings` of an array of weights and some numbers, worked out once for equal ones.

    A layer has the same packings whatever its map's height, its output's width and its bias are.
    """

    @lru_cache(maxsize=_MOST_WEIGHTS)
    def answer(weights: _Weights, *numbers: int) -> tuple[T, ...]:
        return tuple(packings(weights.array, *numbers))

    @wraps(packings)
    def asked(weight: np.ndarray, *numbers: int) -> tuple[T, ...]:
        return answer(_Weights(weight.tobytes(), weight.shape, weight.dtype.str, weight), *numbers)

    return asked


@dataclass(frozen=True)
class _Selection:
    """Ways to choose from; equal where the same ones are chosen."""

    known: Hashable
    ways: Callable[[], Iterable] = field(compare=False)
    select: Callable[[Iterable], Iterable] = field(compare=False)


def selected_once(
    known: Hashable, ways: Callable[[], Iterable[T]], select: Callable[[Iterable[T]], Iterable[T]]
) -> tuple[T, ...]:
    """What `select` chooses of `ways`, worked out once for equal `known`, on which alone it
    depends. The ways chosen may be those of another layer, with other constants."""
    return _selected(_Selection(known, ways, select))


@lru_cache(maxsize=_MOST_SELECTIONS)
def _selected(selection: _Selection) -> tuple:
    return tuple(selection.select(selection.ways()))


def weights_digest(*weights: np.ndarray) -> bytes:
    """Equal for arrays of equal numbers, shapes and types alone."""
    state = hashlib.blake2b(digest_size=16)
    for array in weights:
        state.update(f"{array.dtype.str} {array.shape}".encode())
        state.update(np.ascontiguousarray(array))
    return state.digest()


@dataclass(frozen=True)
class _Constants:
    """Constants to work out; equal where they are."""

    known: Hashable
    work: Callable[[], object] = field(compare=False)


def constants_once(known: Hashable, work: Callable[[], T]) -> T:
    """What `work` gives, worked out once for equal `known`, on which alone it depends; it must not
    be changed."""
    return _constants(_Constants(known, work))


@lru_cache(maxsize=_MOST_CONSTANTS)
def _constants(constants: _Constants) -> object:
    return constants.work()


def sizes_of(op: QConv2d | QDepthwiseConv2d, source: QTensor, output: QTensor) -> Hashable:
    """All of a convolution that sizes and cycles of its kernels follow from, but for packings."""
    requantize = op.requantize
    return (
        type(op).__name__, op.window, op.w_bits, op.weight.shape,
        (requantize.pre_shift, requantize.shift, requantize.bits),
        (source.shape, source.bits, source.zero_point),
        (output.shape, output.bits, output.zero_point),
    )  # fmt: skip
