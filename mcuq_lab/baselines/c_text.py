"""The parts of generated C that do not depend on an engine: arrays, model.h, the entry points."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files

import numpy as np

from mcuq_lab.baselines.tensor_arena import TensorArena
from mcuq_lab.quantgraph import QOp, QuantGraph
from mcuq_lab.sources import LayerInfo, SourceFile


def identifier(op: QOp) -> str:
    """A C name for an operator."""
    return "layer_" + re.sub(r"\W", "_", op.name)


def shared_kernels() -> list[SourceFile]:
    """The headers that kernels of all engines include."""
    header = files("mcuq_lab.baselines").joinpath("kernels", "dsp_words.h")
    return [SourceFile(header.name, header.read_text())]


def info_without_weights(op: QOp, kernel: str, policy: str = "a8") -> LayerInfo:
    """What a profile says of an addition, a pool or a copy, which needs no scratch."""
    return LayerInfo(
        name=op.name,
        op=op.op,
        policy=policy,
        kernel=kernel,
        packing="",
        macs=0,
        weights_bytes=0,
        scratch_bytes=0,
    )


def array(kind: str, name: str, values: np.ndarray) -> str:
    """A constant array; words' alignment lets kernels load four bytes at once."""
    numbers = [str(value) for value in values.ravel()]
    lines = [", ".join(numbers[i : i + 16]) for i in range(0, len(numbers), 16)]
    body = ",\n    ".join(lines)
    return f"_Alignas(4) static const {kind} {name}[{len(numbers)}] = {{\n    {body}\n}};"


def model_header(graph: QuantGraph, arena: TensorArena, title: str) -> str:
    """Text of model.h; `title` is a comment of one line."""
    return f"""/* {title} */
#ifndef MCUQ_MODEL_H
#define MCUQ_MODEL_H

#include <stdint.h>

#define MCUQ_INPUT_BYTES {graph.input.size_bytes}
#define MCUQ_OUTPUT_BYTES {graph.output.size_bytes}
#define MCUQ_ARENA_BYTES {arena.total_bytes}
#define MCUQ_LAYER_COUNT {len(graph.ops)}
#define MCUQ_INPUT_OFFSET {arena.offsets[graph.input_name]}
#define MCUQ_OUTPUT_OFFSET {arena.offsets[graph.output_name]}

extern uint8_t mcuq_arena[MCUQ_ARENA_BYTES];

typedef void (*mcuq_layer_fn)(void);
extern const mcuq_layer_fn mcuq_layers[MCUQ_LAYER_COUNT];

void mcuq_invoke(const uint8_t *input, uint8_t *output);

#endif
"""


def model_source(title: str, head: str, layers: Sequence[tuple[str, str]]) -> str:
    """Text of model.c.

    Args:
        title: a comment of one line.
        head: includes and declarations that all layers share.
        layers: of each operator, its declarations and the body of its function.
    """
    parts = [
        f'/* {title} */\n#include "model.h"\n\n{head}\n',
        "_Alignas(16) uint8_t mcuq_arena[MCUQ_ARENA_BYTES];\n",
    ]
    for step, (declarations, body) in enumerate(layers):
        if declarations:
            parts.append(declarations)
        parts.append(f"static void run_{step}(void)\n{{\n    {body}\n}}\n")
    names = ", ".join(f"run_{step}" for step in range(len(layers)))
    parts.append(f"const mcuq_layer_fn mcuq_layers[MCUQ_LAYER_COUNT] = {{ {names} }};\n")
    calls = "\n".join(f"    run_{step}();" for step in range(len(layers)))
    parts.append(f"""static void copy(const uint8_t *from, uint8_t *to, uint32_t size)
{{
    while (size-- > 0)
        *to++ = *from++;
}}

void mcuq_invoke(const uint8_t *input, uint8_t *output)
{{
    if (input != mcuq_arena + MCUQ_INPUT_OFFSET)
        copy(input, mcuq_arena + MCUQ_INPUT_OFFSET, MCUQ_INPUT_BYTES);
{calls}
    if (output != mcuq_arena + MCUQ_OUTPUT_OFFSET)
        copy(mcuq_arena + MCUQ_OUTPUT_OFFSET, output, MCUQ_OUTPUT_BYTES);
}}
""")
    return "\n".join(parts)
