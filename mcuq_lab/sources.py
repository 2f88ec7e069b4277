"""What an engine hands to the build: C sources of one network, and what it promises about them.

The C contract of every engine (LiteEngine and baselines alike), declared in its `model.h`:

    #define MCUQ_INPUT_BYTES   ...   /* bytes of the quantized input, dense NHWC            */
    #define MCUQ_OUTPUT_BYTES  ...   /* bytes of the quantized output                       */
    #define MCUQ_ARENA_BYTES   ...   /* bytes of mcuq_arena: all activations and scratch    */
    #define MCUQ_LAYER_COUNT   ...   /* entries of mcuq_layers                              */
    #define MCUQ_INPUT_OFFSET  ...   /* where in the arena the input tensor lies            */
    #define MCUQ_OUTPUT_OFFSET ...   /* where in the arena the output tensor lies           */
    extern uint8_t mcuq_arena[MCUQ_ARENA_BYTES];              /* 8-byte aligned, in .bss     */
    typedef void (*mcuq_layer_fn)(void);
    extern const mcuq_layer_fn mcuq_layers[MCUQ_LAYER_COUNT]; /* in execution order          */
    void mcuq_invoke(const uint8_t *input, uint8_t *output);

`mcuq_invoke` copies the input into its arena slot unless `input` already points there, runs all
layers, and copies the output out unless `output` points at its slot. A profiler fills the slot
itself and calls the entries of `mcuq_layers` one by one. Generated C is freestanding (C11,
`<stdint.h>` and `<stddef.h>` only), compiles with -Wall -Wextra -Werror for the board and for a
host, and keeps all mutable state in `mcuq_arena`, so a static RAM report has one line to read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class SourceFile:
    """One C source or header.

    Attributes:
        name: its file name, `model.c`, or a path below the sources' directory.
        text: the whole file.
        arguments: compiler options of this file alone, after those of the build; for the files of
            a foreign library, which is written to other rules.
        joinable: it may be compiled together with its neighbours of this kind, as one translation
            unit: it defines no name that one of them has, and calls none of their functions.
    """

    name: str
    text: str
    arguments: tuple[str, ...] = ()
    joinable: bool = False

    @property
    def is_header(self) -> bool:
        return self.name.endswith(".h")


@dataclass(frozen=True)
class LayerInfo:
    """What one entry of `mcuq_layers` computes.

    Attributes:
        name: the operator's name in the quantized graph; of several operators see `joined_name`.
        op: `Conv2d`, `Add`, ...
        policy: `w4a8`, or `a4` for an operator without weights.
        kernel: the C kernel's name, `le_<op>_w<bits>a<bits>[_<variant>]` for LiteEngine.
        packing: the operand packing in words (`row polynomial m=3 s=13`), or "" for none.
        macs: multiply-accumulates.
        weights_bytes: constants in flash that only this layer uses (weights, requantization).
        scratch_bytes: arena bytes beyond its tensors that it needs while it runs.
        code_share_bytes: estimated code of its kernel; of files that several layers use, its part.
        limit_macs_per_cycle: what the kernel's inner loop alone would reach; 0: not known.
    """

    name: str
    op: str
    policy: str
    kernel: str
    packing: str
    macs: int
    weights_bytes: int
    scratch_bytes: int
    code_share_bytes: int = 0
    limit_macs_per_cycle: float = 0.0


def joined_name(first: str, last: str) -> str:
    """Name of one entry of `mcuq_layers` that computes all operators from `first` to `last`."""
    return f"{first}_to_{last}"


def joined_names(name: str, operators: Sequence[str]) -> Sequence[str]:
    """Of a network's operators, in their order, those that the entry called `name` computes."""
    if name in operators:
        return [name]
    for i, first in enumerate(operators):
        if name.startswith(joined_name(first, "")):
            for end, last in enumerate(operators[i + 1 :], i + 2):
                if name == joined_name(first, last):
                    return operators[i:end]
    return []


@dataclass(frozen=True)
class Sources:
    """A generated network.

    Attributes:
        engine: `liteengine`, `cmsis_nn`, ...
        model: name of the network.
        policy: its policy as text.
        files: C files and headers, to be compiled together, in a deterministic order.
        layers: one for each entry of `mcuq_layers`.
        arena_bytes: planned size of `mcuq_arena`, scratch included.
        scratch_bytes: the largest scratch of any layer (part of the arena).
        signed_io: the engine wants and gives int8 = u8 - 128 instead of the graph's u8.
        note: what a reader of a result row must know, for example a nearest supported form.
        schedule: how kernels were chosen: `tuned` by cycles measured on the target, `predicted` by
            formulas, "" for an engine that has no choice.
    """

    engine: str
    model: str
    policy: str
    files: tuple[SourceFile, ...]
    layers: tuple[LayerInfo, ...]
    arena_bytes: int
    scratch_bytes: int
    signed_io: bool = False
    note: str = ""
    schedule: str = ""

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all files."""
        state = hashlib.sha256()
        for file in self.files:
            state.update(file.name.encode() + b"\0" + file.text.encode() + b"\0")
            state.update("".join(f"{argument}\0" for argument in file.arguments).encode())
        return state.hexdigest()

    @property
    def weights_bytes(self) -> int:
        return sum(layer.weights_bytes for layer in self.layers)
