"""Random layers against the baseline: is there one that LiteEngine computes more slowly?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mcuq_lab.bench import BoardSession
from mcuq_lab.benchmark import measure_random
from mcuq_lab.engines import engine_named
from mcuq_lab.layer_grammar import layer_network
from mcuq_lab.measurement import Measurement
from mcuq_lab.policy import LayerBits, Policy

BASELINE = "cmsis_nn"
MAX_MACS = 3_000_000
_MAX_TENSORS_BYTES = 96 << 10
_MAX_WEIGHTS_BYTES = 256 << 10


@dataclass(frozen=True)
class SweepRow:
    """One random layer at one policy; `ratio_cmsis_nn` below 1 is a layer that must be mended."""

    layer: str
    policy: str
    macs: int
    cycles: int
    cycles_cmsis_nn: int
    ratio_cmsis_nn: float
    kernel: str
    packing: str
    bit_exact: bool


def random_layers(count: int, seed: int = 0, max_macs: int = MAX_MACS) -> tuple[str, ...]:
    """Different layers by name: 1..256 channels, sides 4..64, kernels 1, 3, 5, 7, strides 1, 2.

    Two of three are dense convolutions, the rest depthwise or fully connected. Sizes are drawn
    evenly over their logarithms; layers above `max_macs`, or too large for the default board in
    8 bits, are drawn again.
    """
    rng = np.random.default_rng(seed)
    names: dict[str, None] = {}
    while len(names) < count:
        name = _random_layer(rng)
        graph = layer_network(name, LayerBits(8, 8))
        (op,) = graph.ops
        tensors_bytes = sum(tensor.size_bytes for tensor in graph.tensors.values())
        if (
            graph.macs(op) <= max_macs
            and tensors_bytes <= _MAX_TENSORS_BYTES
            and op.weight.size <= _MAX_WEIGHTS_BYTES
        ):
            names[name] = None
    return tuple(names)


def _random_layer(rng: np.random.Generator) -> str:
    def size(low: int, high: int) -> int:
        return int(np.floor(np.exp(rng.uniform(np.log(low), np.log(high + 1)))))

    kind = rng.choice(["c", "c", "c", "c", "dw", "fc"])
    if kind == "fc":
        return f"fc_{size(1, 256)}_{size(1, 256)}"
    stride = "s2" if rng.integers(2) else ""
    window, side, channels = rng.choice([1, 3, 5, 7]), size(4, 64), size(1, 256)
    outputs = f"_{size(1, 256)}" if kind == "c" else ""
    return f"{kind}{window}{stride}_{side}x{channels}{outputs}"


def sweep(
    session: BoardSession,
    layers: Sequence[str],
    policies: Sequence[str],
    done: Collection[tuple[str, str]] = (),
    seed: int = 0,
) -> Iterator[SweepRow]:
    """A row for each layer and policy that is not `done`, each layer's baseline measured once.

    Args:
        session: an open board.
        layers: names by `layer_grammar`.
        policies: uniform ones, `w4a4`.
        done: (layer, policy) of rows that a sweep before this one gave.
        seed: of weights and inputs.

    Raises:
        McuqError: what a stage of the line raises.
    """
    for layer in layers:
        missing = [policy for policy in policies if (layer, policy) not in done]
        if not missing:
            continue
        baseline = _measure(session, layer, "w8a8", BASELINE, seed).cycles
        for policy in missing:
            measurement = _measure(session, layer, policy, "liteengine", seed)
            info = measurement.layers[0]
            yield SweepRow(
                layer=layer,
                policy=policy,
                macs=info.macs,
                cycles=measurement.cycles,
                cycles_cmsis_nn=baseline,
                ratio_cmsis_nn=baseline / measurement.cycles,
                kernel=info.kernel,
                packing=info.packing,
                bit_exact=measurement.bit_exact,
            )


def _measure(session: BoardSession, layer: str, policy: str, engine: str, seed: int) -> Measurement:
    network = layer_network(layer, Policy.parse(policy, 1).layers[0], seed)
    return measure_random(network, engine_named(engine), session, seed, inputs=1)
