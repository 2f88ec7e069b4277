"""What comes back from a board: raw output of runs, and the measurement made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from mcuq_lab.sources import LayerInfo

STATUSES = ("ok", "no_fit_flash", "no_fit_sram", "timeout", "fault", "probe_error")


@dataclass(frozen=True)
class ImageSizes:
    """Bytes of one linked image, by what they are for.

    `code` is everything executed or read from flash that is not a weight; `static` is the .data and
    .bss beside arena and stack.
    """

    flash_code_bytes: int
    flash_weights_bytes: int
    flash_total_bytes: int
    sram_static_bytes: int
    sram_arena_bytes: int


@dataclass(frozen=True, eq=False)
class RunOutput:
    """What the firmware reported for N inputs.

    Attributes:
        outputs: uint8 of shape (N, output bytes), as stored in memory.
        cycles: exact cycle count of each whole inference, shape (N,).
        layer_cycles: cycles of each layer, from one profiled run (reading the counter costs a few
            cycles a layer, so their sum is not the latency).
        arena_touched_bytes: bytes of the arena that a run really wrote (high-water mark).
        stack_bytes: high-water mark of the stack.
    """

    outputs: np.ndarray
    cycles: np.ndarray
    layer_cycles: tuple[int, ...]
    arena_touched_bytes: int
    stack_bytes: int


@dataclass(frozen=True)
class Bench:
    """Where and how a measurement was made: what makes a figure comparable with another.

    Attributes:
        board: id of the board.
        simulated: whether the simulated Nucleo answered.
        probe_uid: unique id of the probe.
        sysclk_hz: core clock; flash_wait_states at that clock.
        compiler: name and version; flags as one string.
        timing_model: name, version and stated uncertainty for a simulated board, else "".
    """

    board: str
    simulated: bool
    probe_uid: str
    sysclk_hz: int
    flash_wait_states: int
    compiler: str
    flags: str
    timing_model: str


@dataclass(frozen=True)
class LayerProfile:
    """One layer of a measured network.

    `limit_macs_per_cycle` is what the loads and products of the kernel's inner loop alone would
    reach on a Cortex-M4, and `limit_share` the part of it that the whole layer reaches; both are
    None where the engine does not know. `code_share_bytes` is estimated, see `LayerInfo`.
    """

    name: str
    op: str
    policy: str
    kernel: str
    packing: str
    macs: int
    cycles: int
    macs_per_cycle: float
    limit_macs_per_cycle: float | None
    limit_share: float | None
    weights_bytes: int
    code_share_bytes: int
    scratch_bytes: int


@dataclass(frozen=True, eq=False)
class Measurement:
    """One network, at one policy, on one engine, on one board.

    `bit_exact` says whether all board outputs equalled the integer reference; `schedule` whether
    kernels were chosen by measured cycles (`tuned`) or not (`predicted`). Peak SRAM is
    static + arena + stack; scratch is part of the arena and shown besides.
    """

    model: str
    data: str
    policy: str
    engine: str
    bench: Bench
    layers: tuple[LayerInfo, ...]
    sizes: ImageSizes
    run: RunOutput
    scratch_bytes: int
    bit_exact: bool
    elf_sha256: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    schedule: str = ""

    @property
    def cycles(self) -> int:
        """Median cycles of one inference."""
        return int(np.median(self.run.cycles))

    @property
    def profile(self) -> tuple[LayerProfile, ...]:
        """The layers with their cycles, in execution order."""
        return tuple(map(_profile, self.layers, self.run.layer_cycles))

    @property
    def latency_s(self) -> float:
        return self.cycles / self.bench.sysclk_hz

    @property
    def sram_peak_bytes(self) -> int:
        return self.sizes.sram_static_bytes + self.sizes.sram_arena_bytes + self.run.stack_bytes


def _profile(layer: LayerInfo, cycles: int) -> LayerProfile:
    macs_per_cycle = layer.macs / cycles if cycles else 0.0
    limit = layer.limit_macs_per_cycle or None
    return LayerProfile(
        name=layer.name,
        op=layer.op,
        policy=layer.policy,
        kernel=layer.kernel,
        packing=layer.packing,
        macs=layer.macs,
        cycles=int(cycles),
        macs_per_cycle=macs_per_cycle,
        limit_macs_per_cycle=limit,
        limit_share=None if limit is None else macs_per_cycle / limit,
        weights_bytes=layer.weights_bytes,
        code_share_bytes=layer.code_share_bytes,
        scratch_bytes=layer.scratch_bytes,
    )
