"""Networks of which a library computes some layers, and its re-implementation the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeVar

from mcuq_lab.quantgraph import QOp
from mcuq_lab.sources import LayerInfo


class Emitted(Protocol):
    """A layer on a re-implementation: constants, the body of its function, its LayerInfo."""

    declarations: str
    call: str
    info: LayerInfo


Own = TypeVar("Own", bound=Emitted)


def emit_mixed(
    ops: Iterable[QOp],
    functions: Mapping[str, str],
    on_library: Callable[[QOp, str], tuple[str, str, LayerInfo]],
    on_own: Callable[[QOp], Own],
) -> tuple[list[tuple[str, str]], list[LayerInfo], list[Own]]:
    """Constants and body of each layer's function, each LayerInfo, and what is not the library's.

    Args:
        functions: the library's function by operator name; "" where it has none.
        on_library: (operator, function) -> constants, body, LayerInfo.
        on_own: the same operator on the re-implementation.
    """
    layers: list[tuple[str, str]] = []
    infos: list[LayerInfo] = []
    others: list[Own] = []
    for op in ops:
        if function := functions[op.name]:
            declarations, call, info = on_library(op, function)
        else:
            own = on_own(op)
            others.append(own)
            declarations, call, info = own.declarations, own.call, own.info
        layers.append((declarations, call))
        infos.append(info)
    return layers, infos, others
