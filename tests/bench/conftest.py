"""A tiny hand-written network, and a cache of its own for each test."""

from __future__ import annotations

import numpy as np
import pytest

from mcuq_lab.content_cache import ContentCache
from mcuq_lab.sources import LayerInfo, SourceFile, Sources

INPUT_BYTES = 24
OUTPUT_BYTES = 8
ARENA_BYTES = 64
WEIGHTS = np.arange(INPUT_BYTES * OUTPUT_BYTES, dtype=np.uint8).reshape(OUTPUT_BYTES, INPUT_BYTES)

HEADER = f"""
#ifndef MODEL_H
#define MODEL_H
#include <stdint.h>
#define MCUQ_INPUT_BYTES {INPUT_BYTES}
#define MCUQ_OUTPUT_BYTES {OUTPUT_BYTES}
#define MCUQ_ARENA_BYTES {ARENA_BYTES}
#define MCUQ_LAYER_COUNT 2
#define MCUQ_INPUT_OFFSET 0
#define MCUQ_OUTPUT_OFFSET 48
extern uint8_t mcuq_arena[MCUQ_ARENA_BYTES];
typedef void (*mcuq_layer_fn)(void);
extern const mcuq_layer_fn mcuq_layers[MCUQ_LAYER_COUNT];
void mcuq_invoke(const uint8_t *input, uint8_t *output);
void layer_add(void);
void layer_dot(void);
#endif
"""

MODEL = """
#include "model.h"
_Alignas(8) uint8_t mcuq_arena[MCUQ_ARENA_BYTES];
const mcuq_layer_fn mcuq_layers[MCUQ_LAYER_COUNT] = {layer_add, layer_dot};
static void copy(uint8_t *to, const uint8_t *from, int n)
{
    while (n-- > 0) {
        *to++ = *from++;
    }
}
void mcuq_invoke(const uint8_t *input, uint8_t *output)
{
    if (input != mcuq_arena + MCUQ_INPUT_OFFSET) {
        copy(mcuq_arena + MCUQ_INPUT_OFFSET, input, MCUQ_INPUT_BYTES);
    }
    layer_add();
    layer_dot();
    if (output != mcuq_arena + MCUQ_OUTPUT_OFFSET) {
        copy(output, mcuq_arena + MCUQ_OUTPUT_OFFSET, MCUQ_OUTPUT_BYTES);
    }
}
"""

ADD = """
#include "model.h"
void layer_add(void)
{
    for (int i = 0; i < MCUQ_INPUT_BYTES; ++i) {
        mcuq_arena[24 + i] = (uint8_t)(mcuq_arena[i] + 3u);
    }
}
"""

DOT = """
#include "model.h"
static const uint8_t weights[MCUQ_OUTPUT_BYTES][MCUQ_INPUT_BYTES] = {WEIGHTS};
void layer_dot(void)
{
    for (int o = 0; o < MCUQ_OUTPUT_BYTES; ++o) {
        uint32_t sum = 0;
        for (int i = 0; i < MCUQ_INPUT_BYTES; ++i) {
            sum += (uint32_t)weights[o][i] * mcuq_arena[24 + i];
        }
        mcuq_arena[MCUQ_OUTPUT_OFFSET + o] = (uint8_t)(sum >> 8);
    }
}
""".replace("WEIGHTS", ",".join("{" + ",".join(str(w) for w in row) + "}" for row in WEIGHTS))


def make_sources(**replaced: str) -> Sources:
    """The tiny network; a keyword `header`, `model`, `add` or `dot` replaces that file's text."""
    texts = {"header": HEADER, "model": MODEL, "add": ADD, "dot": DOT} | replaced
    return Sources(
        engine="hand",
        model="tiny",
        policy="w8a8",
        files=(
            SourceFile("model.h", texts["header"]),
            SourceFile("model.c", texts["model"]),
            SourceFile("layer_add.c", texts["add"]),
            SourceFile("layer_dot.c", texts["dot"]),
        ),
        layers=(
            LayerInfo("add", "Add", "a8", "add", "", 0, 0, 0),
            LayerInfo("dot", "Linear", "w8a8", "dot", "", WEIGHTS.size, WEIGHTS.size, 0),
        ),
        arena_bytes=ARENA_BYTES,
        scratch_bytes=0,
    )


def expected_outputs(inputs: np.ndarray) -> np.ndarray:
    """What the tiny network computes, by numpy."""
    moved = (inputs + np.uint8(3)).astype(np.uint32)
    return ((moved @ WEIGHTS.T.astype(np.uint32)) >> 8).astype(np.uint8)


@pytest.fixture
def tiny():
    """The tiny network's functions, since test modules cannot import each other."""

    class Tiny:
        make = staticmethod(make_sources)
        expected = staticmethod(expected_outputs)
        sources = make_sources()
        texts = {"header": HEADER, "model": MODEL, "add": ADD, "dot": DOT}  # noqa: RUF012
        inputs = np.random.default_rng(1).integers(0, 256, (5, INPUT_BYTES), np.uint8)

    return Tiny


@pytest.fixture
def cache(tmp_path) -> ContentCache:
    return ContentCache(tmp_path / "cache")
