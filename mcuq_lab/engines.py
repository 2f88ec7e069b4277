"""The engines by name: what turns a quantized network into C, and what that C must compute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mcuq_lab.baselines import cmsis_nn
from mcuq_lab.errors import ConfigError
from mcuq_lab.liteengine import generate as generate_liteengine
from mcuq_lab.quantgraph import QuantGraph
from mcuq_lab.quantize import run_reference
from mcuq_lab.sources import Sources


@dataclass(frozen=True)
class Engine:
    """One way to run a network on a board.

    Attributes:
        name: as on the command line and in results.
        label: as figures name it; a re-implementation says that it is one.
        policies: the uniform policies that it supports, or () for all.
        generate: QuantGraph -> Sources.
        reference: (QuantGraph, inputs uint8 (N, h, w, c)) -> outputs uint8 (N, h, w, c): the very
            integers that the engine's C must give.
    """

    name: str
    label: str
    policies: tuple[str, ...]
    generate: Callable[[QuantGraph], Sources]
    reference: Callable[[QuantGraph, np.ndarray], np.ndarray]

    def supports(self, policy: str) -> bool:
        """Whether a policy, as text, is one that this engine can run."""
        return not self.policies or policy in self.policies


ENGINES = {
    engine.name: engine
    for engine in (
        Engine("liteengine", "LiteEngine", (), generate_liteengine, run_reference),
        Engine(
            cmsis_nn.ENGINE_NAME,
            "CMSIS-NN (re-implementation)",
            ("w8a8",),
            cmsis_nn.generate,
            cmsis_nn.run_reference,
        ),
    )
}


def engine_named(name: str) -> Engine:
    """The engine called `name`; raises ConfigError if there is none."""
    if name not in ENGINES:
        raise ConfigError(f"There is no engine '{name}'; choose one of {', '.join(ENGINES)}.")
    return ENGINES[name]
