"""The engines by name: what turns a quantized network into C, and what that C must compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mcuq_lab.baselines import cmix_nn, cmsis_nn, tinyengine
from mcuq_lab.errors import ConfigError
from mcuq_lab.libraries import OFFICIAL, Official, generate_official, label_of
from mcuq_lab.liteengine import generate as generate_liteengine
from mcuq_lab.quantgraph import QuantGraph
from mcuq_lab.quantize import run_reference
from mcuq_lab.sources import Sources
from mcuq_lab.target import Target


class Generate(Protocol):
    """Writes the C of a quantized network for a core.

    `measured_cycles` by `liteengine.kernel_key` are for an engine that chooses among kernels.
    """

    def __call__(
        self,
        network: QuantGraph,
        target: Target,
        measured_cycles: Mapping[str, int] | None = None,
    ) -> Sources: ...


@dataclass(frozen=True)
class Engine:
    """One way to run a network on a board.

    Attributes:
        name: as on the command line and in results.
        label: as figures name it; a re-implementation says that it is one.
        policies: the uniform policies that it supports, or () for all.
        generate: see `Generate`; the published engines know one target and one choice only.
        reference: (QuantGraph, inputs uint8 (N, h, w, c)) -> outputs uint8 (N, h, w, c): the very
            integers that the engine's C must give.
        run: the same integers as `reference`, quickly for thousands of inputs.
    """

    name: str
    label: str
    policies: tuple[str, ...]
    generate: Generate
    reference: Callable[[QuantGraph, np.ndarray], np.ndarray]
    run: Callable[[QuantGraph, np.ndarray], np.ndarray]

    def accuracy(
        self, network: QuantGraph, inputs: np.ndarray, labels: np.ndarray, batch: int = 250
    ) -> float:
        """Share of quantized inputs (N, h, w, c) whose largest output is their label's.

        Of equal outputs the first one counts, as on the board.
        """
        right = 0
        for start in range(0, len(inputs), batch):
            outputs = self.run(network, inputs[start : start + batch])
            chosen = outputs.reshape(len(outputs), -1).argmax(1)
            right += int((chosen == labels[start : start + batch]).sum())
        return right / len(inputs)

    def supports(self, policy: str) -> bool:
        """Whether a policy, as text, is one that this engine can run."""
        return not self.policies or policy in self.policies


def _liteengine(
    network: QuantGraph, target: Target, measured_cycles: Mapping[str, int] | None = None
) -> Sources:
    return generate_liteengine(network, measured_cycles=measured_cycles, target=target)


def _run_integers(network: QuantGraph, inputs: np.ndarray) -> np.ndarray:
    from mcuq_lab.quantize import run_integers  # torch with it: who only reads results has no use

    return run_integers(network, inputs)


def _for_any(generate: Callable[[QuantGraph], Sources]) -> Generate:
    return lambda network, target, measured_cycles=None: generate(network)


ENGINES = {
    engine.name: engine
    for engine in (
        Engine("liteengine", "LiteEngine", (), _liteengine, run_reference, _run_integers),
        Engine(
            cmsis_nn.ENGINE_NAME,
            "CMSIS-NN (re-implementation)",
            tuple(f"w{w}a8" for w in cmsis_nn.WEIGHT_BITS),
            _for_any(cmsis_nn.generate),
            cmsis_nn.run_reference,
            cmsis_nn.run_integers,
        ),
        Engine(
            cmix_nn.ENGINE_NAME,
            "CMix-NN (re-implementation)",
            tuple(f"w{w}a{a}" for w in cmix_nn.WIDTHS for a in cmix_nn.WIDTHS),
            _for_any(cmix_nn.generate),
            run_reference,
            _run_integers,
        ),
        Engine(
            tinyengine.ENGINE_NAME,
            "TinyEngine (re-implementation)",
            ("w8a8",),
            _for_any(tinyengine.generate),
            tinyengine.run_reference,
            tinyengine.run_integers,
        ),
    )
}


ENGINE_NAMES = (*ENGINES, *OFFICIAL)
"""All names; those of official libraries work where the settings name the library."""


def engine_named(name: str) -> Engine:
    """The engine called `name`; raises ConfigError if there is none."""
    if name in ENGINES:
        return ENGINES[name]
    if name in OFFICIAL:
        return _official(OFFICIAL[name])
    raise ConfigError(f"There is no engine '{name}'; choose one of {', '.join(ENGINE_NAMES)}.")


def _official(official: Official) -> Engine:
    return Engine(
        official.engine,
        label_of(official),
        official.policies,
        _for_any(lambda network: generate_official(official, network)),
        official.reference,
        official.run,
    )
