"""Single layers on a board, engine beside engine: rows for tables and for the README."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from mcuq_lab.bench import BoardSession, build
from mcuq_lab.board import Board
from mcuq_lab.engines import Engine
from mcuq_lab.layer_grammar import layer_network
from mcuq_lab.measurement import Measurement
from mcuq_lab.pipeline import measure_network
from mcuq_lab.policy import Policy
from mcuq_lab.quantgraph import QuantGraph
from mcuq_lab.quantize import random_inputs
from mcuq_lab.sources import LayerInfo, SourceFile, Sources

LAYERS = (
    "c3_32x3_16",
    "c3_32x16_16",
    "c3_16x32_32",
    "c3_8x64_64",
    "c3s2_32x16_32",
    "c3s2_16x32_64",
    "c1s2_32x16_32",
    "c1s2_16x32_64",
    "c1_12x64_128",
    "c1_6x128_256",
    "dw_24x32",
    "dw_12x64",
    "fc_64_10",
)
POLICIES = ("w8a8", "w4a8", "w8a4", "w4a4", "w3a3", "w2a2")
INPUTS = 3
"""Inputs for each row: one random, one of zeros, one of the largest value."""


@dataclass(frozen=True)
class LayerRow:
    """One layer, at one policy, on one engine.

    `code_bytes` is the flash of the image without weights and without the bench's own harness,
    `flash_bytes` all of the image, `sram_bytes` its peak; `schedule` and the limit as in
    `Measurement`.
    """

    layer: str
    policy: str
    engine: str
    board: str
    simulated: bool
    macs: int
    cycles: int
    macs_per_cycle: float
    limit_share: float | None
    code_bytes: int
    weights_bytes: int
    scratch_bytes: int
    flash_bytes: int
    sram_bytes: int
    bit_exact: bool
    kernel: str
    packing: str
    schedule: str


def bench_layers(
    session: BoardSession,
    layers: Sequence[str] = LAYERS,
    policies: Sequence[str] = POLICIES,
    engines: Sequence[Engine] = (),
    seed: int = 0,
) -> Iterator[LayerRow]:
    """A row for each layer, policy and engine that supports it, as they are measured.

    Raises:
        ConfigError: a layer or policy that does not exist.
        McuqError: what a stage of the line raises.
    """
    for layer, policy, engine in product(layers, policies, engines):
        bits = Policy.parse(policy, 1).layers[0]
        if not engine.supports(str(bits)):
            continue
        measurement = measure_random(layer_network(layer, bits, seed), engine, session, seed)
        (info,) = (profile for profile in measurement.profile if profile.name == layer)
        yield LayerRow(
            layer=layer,
            policy=str(bits),
            engine=engine.name,
            board=measurement.bench.board,
            simulated=measurement.bench.simulated,
            macs=info.macs,
            cycles=measurement.cycles,
            macs_per_cycle=info.macs / measurement.cycles,
            limit_share=info.limit_share,
            code_bytes=measurement.sizes.flash_code_bytes - harness_bytes(session.board),
            weights_bytes=info.weights_bytes,
            scratch_bytes=info.scratch_bytes,
            flash_bytes=measurement.sizes.flash_total_bytes,
            sram_bytes=measurement.sram_peak_bytes,
            bit_exact=measurement.bit_exact,
            kernel=info.kernel,
            packing=info.packing,
            schedule=measurement.schedule,
        )


def measure_random(
    network: QuantGraph,
    engine: Engine,
    session: BoardSession,
    seed: int = 0,
    inputs: int = INPUTS,
) -> Measurement:
    """One network on random inputs, and on extreme ones if there are several."""
    return measure_network(network, engine, session, random_inputs(network, inputs, seed))


@functools.cache
def harness_bytes(board: Board) -> int:
    """Flash of an image whose network does nothing: start-up code and harness."""
    header = """#include <stdint.h>
#define MCUQ_INPUT_BYTES 1
#define MCUQ_OUTPUT_BYTES 1
#define MCUQ_ARENA_BYTES 8
#define MCUQ_LAYER_COUNT 1
#define MCUQ_INPUT_OFFSET 0
#define MCUQ_OUTPUT_OFFSET 0
extern uint8_t mcuq_arena[MCUQ_ARENA_BYTES];
typedef void (*mcuq_layer_fn)(void);
extern const mcuq_layer_fn mcuq_layers[MCUQ_LAYER_COUNT];
void mcuq_invoke(const uint8_t *input, uint8_t *output);
"""
    source = """#include "model.h"
_Alignas(8) uint8_t mcuq_arena[MCUQ_ARENA_BYTES];
static void nothing(void) {}
const mcuq_layer_fn mcuq_layers[MCUQ_LAYER_COUNT] = {nothing};
void mcuq_invoke(const uint8_t *input, uint8_t *output)
{
    (void)input;
    (void)output;
}
"""
    empty = Sources(
        engine="none",
        model="nothing",
        policy="",
        files=(SourceFile("model.h", header), SourceFile("model.c", source)),
        layers=(LayerInfo("nothing", "Nothing", "", "nothing", "", 0, 0, 0),),
        arena_bytes=8,
        scratch_bytes=0,
    )
    return build(empty, board).sizes.flash_total_bytes
