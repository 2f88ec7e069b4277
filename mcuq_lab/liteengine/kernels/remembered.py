"""Families that remember: a search plans thousands of networks out of the same few layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from mcuq_lab.liteengine.lowering import Lowered
from mcuq_lab.quantgraph import QOp, QTensor, op_digest
from mcuq_lab.target import Target

_MOST_CASES = 2048
"""Remembered for each family; a case takes some kilobytes, and its layer's weights."""


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
        return answer(_Case(op_digest(op, own.values()), target, op, own))

    return asked
