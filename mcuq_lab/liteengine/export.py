"""A network as two C files that drop into any firmware project: `model.c` and `model.h`.

`model.c` is all generated files in one, headers first, with everything static but the three names
of `model.h`. What no C file can hold (assembly) stays in files of its own beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mcuq_lab.errors import ConfigError
from mcuq_lab.liteengine.codegen import generate_sources
from mcuq_lab.liteengine.kernels import FAMILIES
from mcuq_lab.liteengine.plan import Plan, plan
from mcuq_lab.liteengine.schedule import Family
from mcuq_lab.quantgraph import QuantGraph
from mcuq_lab.sources import SourceFile, Sources
from mcuq_lab.target import DEFAULT_TARGET, Target

_LOCAL_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"([^"]+)"[^\n]*\n', re.MULTILINE)
_SYSTEM_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]+(<[^>]+>)[^\n]*\n", re.MULTILINE)
_TABLE_HEAD = (
    "| layer | operator | output | bits | kernel | packing | MACs | cycles, predicted "
    "| flash bytes | live SRAM bytes |\n" + "|---" * 10 + "|\n"
)
_BLANK_LINES = re.compile(r"\n{3,}")
_DECLARATION = re.compile(r"^LE_INTERNAL [^;{}()]*?(\w+)\([^;{}]*\);\n", re.MULTILINE)
_DEFINITION = re.compile(r"LE_INTERNAL [^;{}()]*?(\w+)\([^;{}]*\)\s*\{")


def export_c(
    graph: QuantGraph,
    directory: Path | str,
    families: Sequence[Family] = FAMILIES,
    measured_cycles: Mapping[str, int] | None = None,
    target: Target = DEFAULT_TARGET,
) -> tuple[Path, ...]:
    """Writes `model.c`, `model.h` and a README.md with its sizes into `directory`.

    Returns:
        The files written.

    Raises:
        ModelError: as `plan`.
        ConfigError: the directory cannot be written.
    """
    planned = plan(graph, families, measured_cycles, target)
    files = joined(generate_sources(planned))
    files = (*files, SourceFile("README.md", _readme(planned, files)))
    folder = Path(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            (folder / file.name).write_text(file.text)
    except OSError as error:
        raise ConfigError(
            f"Cannot write the exported network to '{folder}': {error}. Choose another directory."
        ) from error
    return tuple(folder / file.name for file in files)


def joined(sources: Sources) -> tuple[SourceFile, ...]:
    """`model.c` with all C files of `sources`, `model.h`, and files that are neither C nor header.

    The result computes the same as `sources`, and compiles the same way.
    """
    by_name = {file.name: file for file in sources.files}
    units = [file for file in sources.files if file.name.endswith(".c")]
    others = [f for f in sources.files if not f.is_header and not f.name.endswith(".c")]
    ordered = list(dict.fromkeys(name for unit in units for name in _headers(unit, by_name)))
    parts = [by_name[name] for name in ordered if name != "model.h"]
    text = "\n".join(
        [*(f"\n/* ---- {part.name} ---- */\n{part.text}" for part in (*parts, *units))]
    )
    system = sorted({"<stdint.h>", *_SYSTEM_INCLUDE.findall(text)})
    includes = "".join(f"#include {name}\n" for name in system)
    body = _BLANK_LINES.sub("\n\n", _SYSTEM_INCLUDE.sub("", _LOCAL_INCLUDE.sub("", text)))
    body = body if others else _without_unused_drivers(body)
    storage = "" if others else "#define LE_INTERNAL static __attribute__((noinline))\n\n"
    head = (
        f"/* {sources.model}, quantized ({sources.policy}): runtime, kernels and layers in one "
        f'file.\n */\n{includes}\n#include "model.h"\n\n{storage}'
    )
    return (SourceFile("model.c", head + body), by_name["model.h"], *others)


def _without_unused_drivers(body: str) -> str:
    """Without declarations of functions that nothing defines: kernels share the header of a driver
    for its types, and a static function that is only declared is a warning."""
    defined = set(_DEFINITION.findall(body))
    return _DECLARATION.sub(lambda found: found[0] if found[1] in defined else "", body)


def _headers(file: SourceFile, by_name: Mapping[str, SourceFile]) -> Iterable[str]:
    """Local headers that `file` needs, each behind those that it includes itself."""
    for name in _LOCAL_INCLUDE.findall(file.text):
        if name in by_name:
            yield from _headers(by_name[name], by_name)
            yield name


def _readme(planned: Plan, files: Sequence[SourceFile]) -> str:
    graph = planned.graph
    weights = sum(step.lowered.weights_bytes for step in planned.steps)
    rows = "".join(
        f"| {step.op.name} | {step.op.op} | {step.output.shape} | {step.output.bits} | "
        f"`{step.lowered.kernel}` | {step.lowered.packing or '-'} | {step.macs(graph):,} | "
        f"{step.lowered.predicted_cycles:,} | {step.lowered.weights_bytes:,} | "
        f"{step.live_bytes:,} |\n"
        for step in planned.steps
    )
    names = ", ".join(f"`{file.name}`" for file in files)
    proof = "no smaller one exists" if planned.arena.optimal else "a smaller one may exist"
    return f"""# {graph.name}

A quantized network as freestanding C11: {names}. No other files, no C library, no allocation.
Policy: `{graph.policy}`.

| | bytes |
|---|---|
| weights and other constants (flash) | {weights:,} |
| arena: activations and scratch (SRAM; {proof} for these kernels) | {planned.arena_bytes:,} |
| largest scratch of a layer, part of the arena | {planned.scratch_bytes:,} |
| input | {graph.input.size_bytes:,} |
| output | {graph.output.size_bytes:,} |

Code size depends on the compiler. Predicted time on a Cortex-M4 without flash wait states:
{planned.predicted_cycles:,} cycles.

## Use

```c
#include "model.h"

uint8_t output[MCUQ_OUTPUT_BYTES];
mcuq_invoke(input, output);
```

Compile with `-O3` for a core with the DSP extension (Cortex-M4, M7: `-mcpu=cortex-m4 -mthumb`);
elsewhere plain C computes the same bits. The input may be written straight into its place,
`mcuq_arena + MCUQ_INPUT_OFFSET`, which saves a copy. Layout and scales of input and output are in
`model.h`.

## Layers

{_TABLE_HEAD}{rows}"""
