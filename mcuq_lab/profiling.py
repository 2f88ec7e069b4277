"""A network under the profiler of the simulated board: one inference, or one of its layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from mcuq_lab.bench import BoardSession, Firmware
from mcuq_lab.engines import Engine
from mcuq_lab.errors import ConfigError
from mcuq_lab.flash_fit import built_within
from mcuq_lab.measurement import Bench
from mcuq_lab.nucleosim import simulated_board
from mcuq_lab.nucleosim.profile import Profile, profiled
from mcuq_lab.pipeline import stored_inputs
from mcuq_lab.quantgraph import QuantGraph
from mcuq_lab.sources import Sources, joined_names
from mcuq_lab.target import Target
from mcuq_lab.tuning import tuning_table

_POINTER_BYTES = 4


@dataclass(frozen=True, eq=False)
class NetworkProfile:
    """Where the cycles of one inference, or of one layer of it, go.

    Attributes:
        profile: from the call of `mcuq_invoke`, or of the layer, to its return.
        bench: where and how.
        layers: the layers' names, in execution order.
    """

    profile: Profile
    bench: Bench
    layers: tuple[str, ...]


def profile_network(
    network: QuantGraph,
    engine: Engine,
    session: BoardSession,
    inputs: np.ndarray,
    layer: str | None = None,
    target: Target | None = None,
) -> NetworkProfile:
    """Generates, builds, flashes and runs a quantized network once on an open simulated board.

    Args:
        network: the integer network.
        engine: what generates the C.
        session: an open board.
        inputs: one quantized input, uint8 (1, h, w, c).
        layer: name of the only layer to profile, with those that run in strips with it, if any;
            None: the whole inference.
        target: the board's core, with budgets, of flash for the whole image; None: without any.

    Raises:
        ConfigError: the board is a real one, or there is no such layer.
        McuqError: the stage that fails says why.
    """
    if not session.simulated:
        raise ConfigError(
            f"Probe {session.probe_uid} is a real board, which cannot say where its cycles go; "
            "profile the simulated one with --simulated."
        )
    table = tuning_table(session).read()
    asked = target or Target.of(session.board)
    built = built_within(network, engine, session.board, asked, table)
    sources, firmware = built.sources, built.firmware
    profiles: list[Profile] = []

    @contextmanager
    def watch() -> Iterator[None]:
        with profiled(simulated_board(session.probe_uid), firmware.elf) as profile:
            profiles.append(profile)
            yield

    operators = [op.name for op in network.ops]
    address = _address(firmware, sources, operators, layer)
    session.watch(firmware, stored_inputs(inputs, network, sources), address, watch())
    names = tuple(info.name for info in sources.layers)
    return NetworkProfile(profiles[0], session.bench(firmware), names)


def _address(
    firmware: Firmware, sources: Sources, operators: Sequence[str], layer: str | None
) -> int:
    """Of the function to profile; of a layer that runs in strips with others, theirs."""
    if layer is None:
        return firmware.address("mcuq_invoke") & ~1
    names = [info.name for info in sources.layers]
    at = [i for i, name in enumerate(names) if layer in (name, *joined_names(name, operators))]
    if not at:
        raise ConfigError(f"There is no layer '{layer}'; choose one of: {', '.join(names)}.")
    start = _POINTER_BYTES * at[0]
    table = firmware.image.read("mcuq_layers")
    return int.from_bytes(table[start : start + _POINTER_BYTES], "little") & ~1
