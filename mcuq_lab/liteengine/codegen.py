"""From a plan to C sources.

Each layer has a file of its own, `layer_03_conv1.c`, with its constants and one function that takes
pointers; `model.c` holds what changes whenever any layer changes, the arena offsets. So a policy
that differs in two layers differs in two layer files and in the small model.c, and a cache of
objects by content compiles only those. `mcuq_lab.liteengine.export` joins all files into one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from mcuq_lab.errors import BuildError
from mcuq_lab.liteengine.code_size import code_bytes
from mcuq_lab.liteengine.ctext import c_comment, c_identifier
from mcuq_lab.liteengine.layer_text import layer_text, policy_text
from mcuq_lab.liteengine.plan import Plan, Step
from mcuq_lab.liteengine.runtime import runtime_headers
from mcuq_lab.liteengine.strips import parts
from mcuq_lab.quantgraph import QTensor
from mcuq_lab.sources import LayerInfo, SourceFile, Sources

ENGINE_NAME = "liteengine"

_PLACEHOLDER = re.compile(r"\{(in\d+|out|scratch)\}")


def generate_sources(plan: Plan) -> Sources:
    """The C of a planned network; equal plans give equal text.

    Raises:
        BuildError: two kernels have the same file name but different text.
    """
    layers = tuple(_layer_file(index, step) for index, step in _numbered(plan))
    kernels = (file for step in plan.steps for file in step.lowered.files)
    files = _unique((*runtime_headers(), *kernels))
    users = Counter(file.name for step in plan.steps for file in step.lowered.files)
    return Sources(
        engine=ENGINE_NAME,
        model=plan.graph.name,
        policy=str(plan.graph.policy),
        files=(*files, *layers, model_header(plan), _model_file(plan)),
        layers=tuple(_layer_info(plan, step, users) for step in plan.steps),
        arena_bytes=plan.arena_bytes,
        scratch_bytes=plan.scratch_bytes,
        schedule=plan.schedule,
    )


def model_header(plan: Plan) -> SourceFile:
    """`model.h`: the contract of `mcuq_lab.sources`."""
    graph = plan.graph
    title = c_comment(
        [
            f"{graph.name}, quantized ({graph.policy}).",
            "",
            f"input  {_scale_text(graph.input)}",
            f"output {_scale_text(graph.output)}",
            "",
            "Layout NHWC; `3 bits in 4` are values of 3 bits in fields of 4. A pixel's channels",
            "lie side by side, the lowest in the lowest bits, and each pixel starts on a byte. A",
            "value u stands for scale * (u - zero point). All mutable state lies in mcuq_arena.",
        ]
    )
    defines = {
        "MCUQ_INPUT_BYTES": graph.input.size_bytes,
        "MCUQ_OUTPUT_BYTES": graph.output.size_bytes,
        "MCUQ_ARENA_BYTES": plan.arena_bytes,
        "MCUQ_LAYER_COUNT": len(plan.steps),
        "MCUQ_INPUT_OFFSET": plan.tensor_offsets[graph.input_name],
        "MCUQ_OUTPUT_OFFSET": plan.tensor_offsets[graph.output_name],
    }
    lines = "\n".join(f"#define {name:<18} {value}" for name, value in defines.items())
    return SourceFile(
        "model.h",
        f"{title}#ifndef MCUQ_MODEL_H\n#define MCUQ_MODEL_H\n\n#include <stdint.h>\n\n{lines}\n\n"
        '#ifdef __cplusplus\nextern "C" {\n#endif\n\n'
        "/* All activations and scratch; aligned to 8 bytes. */\n"
        "extern uint8_t mcuq_arena[MCUQ_ARENA_BYTES];\n\n"
        "/* The layers in execution order, on tensors that lie in the arena. */\n"
        "typedef void (*mcuq_layer_fn)(void);\n"
        "extern const mcuq_layer_fn mcuq_layers[MCUQ_LAYER_COUNT];\n\n"
        "/* One inference. Either pointer may name the tensor's own place in the arena\n"
        " * (mcuq_arena + MCUQ_INPUT_OFFSET, + MCUQ_OUTPUT_OFFSET), which saves a copy. */\n"
        "void mcuq_invoke(const uint8_t *input, uint8_t *output);\n\n"
        "#ifdef __cplusplus\n}\n#endif\n\n#endif\n",
    )


def _numbered(plan: Plan) -> tuple[tuple[int, Step], ...]:
    """The steps in execution order, each with its place in the order of the graph: a policy at
    which branches run in another order renames no file."""
    place = {op.name: at for at, op in enumerate(plan.graph.ops)}
    last = len(place)
    ordered = sorted(plan.steps, key=lambda step: place.get(parts(step.op)[0].name, last))
    return tuple((ordered.index(step), step) for step in plan.steps)


def _layer_file(index: int, step: Step) -> SourceFile:
    runtime = {header.name for header in runtime_headers()}
    headers = [f.name for f in step.lowered.files if f.is_header and f.name not in runtime]
    includes = "".join(f'#include "{name}"\n' for name in headers)
    calls = _PLACEHOLDER.sub(r"\1", step.lowered.call).replace("\n", "\n    ")
    constants = f"{text}\n" if (text := step.lowered.constants) else ""
    return SourceFile(
        f"{_layer_function(index, step)}.c",
        f"{c_comment(_text_of(step))}{includes}\n{constants}"
        f"{_layer_prototype(index, step)} {{\n    {calls}\n}}\n",
        joinable=True,
    )


def _layer_function(index: int, step: Step) -> str:
    return f"layer_{index:02d}_{c_identifier(step.op.name)}"


def _parameters(step: Step) -> list[str]:
    """Placeholders that the call really uses, in the order in0, in1, ..., out, scratch."""
    used = set(_PLACEHOLDER.findall(step.lowered.call))
    inputs = [f"in{i}" for i in range(len(step.inputs)) if f"in{i}" in used]
    return [*inputs, "out", *(["scratch"] if "scratch" in used else [])]


def _layer_prototype(index: int, step: Step) -> str:
    types = [
        f"const uint8_t *{name}" if name.startswith("in") else f"uint8_t *{name}"
        for name in _parameters(step)
    ]
    return f"LE_INTERNAL void {_layer_function(index, step)}({', '.join(types)})"


def _model_file(plan: Plan) -> SourceFile:
    steps = _numbered(plan)
    prototypes = "".join(f"{_layer_prototype(index, step)};\n" for index, step in steps)
    table = "".join(f"    run_{c_identifier(step.op.name)},\n" for _, step in steps)
    return SourceFile(
        "model.c",
        f"{c_comment(_model_text(plan))}"
        '#include "model.h"\n\n#include "le_memory.h"\n\n'
        "uint8_t mcuq_arena[MCUQ_ARENA_BYTES] __attribute__((aligned(8)));\n\n"
        "/* Where tensors and scratch lie in the arena, in bytes. */\n"
        f"enum {{\n{_arena_enumerators(plan)}}};\n\n"
        "/* One function a layer, each in the file of its name. */\n"
        f"{prototypes}\n"
        f"{''.join(_run_function(index, step) for index, step in steps)}"
        f"const mcuq_layer_fn mcuq_layers[MCUQ_LAYER_COUNT] = {{\n{table}}};\n\n"
        "void mcuq_invoke(const uint8_t *input, uint8_t *output) {\n"
        "    if (input != mcuq_arena + MCUQ_INPUT_OFFSET) {\n"
        "        le_copy(mcuq_arena + MCUQ_INPUT_OFFSET, input, MCUQ_INPUT_BYTES);\n"
        "    }\n"
        "    for (uint32_t layer = 0; layer < MCUQ_LAYER_COUNT; ++layer) {\n"
        "        mcuq_layers[layer]();\n"
        "    }\n"
        "    if (output != mcuq_arena + MCUQ_OUTPUT_OFFSET) {\n"
        "        le_copy(output, mcuq_arena + MCUQ_OUTPUT_OFFSET, MCUQ_OUTPUT_BYTES);\n"
        "    }\n"
        "}\n",
    )


def _arena_enumerators(plan: Plan) -> str:
    written = {step.output.name: step.output for step in plan.steps}
    tensors = {**plan.graph.tensors, **written}
    places = [
        (f"at_{c_identifier(name)} = {offset},", tensors[name])
        for name, offset in plan.tensor_offsets.items()
    ]
    lines = [f"    {place:<32} /* {_tensor_text(tensor)} */\n" for place, tensor in places]
    for step in plan.steps:
        if "{scratch}" in step.lowered.call:
            place = f"scratch_{c_identifier(step.op.name)} = {step.scratch_offset},"
            lines.append(f"    {place:<32} /* {step.lowered.scratch_bytes:,} bytes */\n")
    return "".join(lines)


def _run_function(index: int, step: Step) -> str:
    name = c_identifier(step.op.name)
    places = {f"in{i}": f"at_{c_identifier(t.name)}" for i, t in enumerate(step.inputs)}
    places |= {"out": f"at_{c_identifier(step.output.name)}", "scratch": f"scratch_{name}"}
    arguments = ", ".join(f"mcuq_arena + {places[p]}" for p in _parameters(step))
    spans = [
        f"{tensor.name} at {offset}"
        for tensor, offset in zip(step.inputs, step.in_offsets, strict=True)
    ]
    shared = ", in place" if step.out_offset in step.in_offsets else ""
    arena = f"arena: {', '.join(spans)}; {step.output.name} at {step.out_offset}{shared}"
    if step.lowered.scratch_bytes:
        arena += f"; {step.lowered.scratch_bytes} bytes of scratch at {step.scratch_offset}"
    comment = c_comment([*_text_of(step), f"{arena}; {step.live_bytes} bytes live"])
    return (
        f"{comment}static void run_{name}(void) {{\n"
        f"    {_layer_function(index, step)}({arguments});\n}}\n\n"
    )


def _text_of(step: Step) -> list[str]:
    return layer_text(step.op, step.lowered, step.inputs, step.output)


def _model_text(plan: Plan) -> list[str]:
    arena = plan.arena
    proof = "proven smallest" if arena.optimal else f"lower bound {arena.lower_bound_bytes:,}"
    return [
        f"{plan.graph.name}, quantized ({plan.graph.policy}).",
        f"arena {arena.total_bytes:,} bytes ({proof}); about {plan.predicted_cycles:,} cycles on a "
        "Cortex-M4, as predicted.",
    ]


def _tensor_text(tensor: QTensor) -> str:
    return (
        f"{tensor.shape}, {tensor.bits} bits in {tensor.storage_bits}, {tensor.size_bytes:,} bytes"
    )


def _scale_text(tensor: QTensor) -> str:
    return f"{_tensor_text(tensor)}, scale {tensor.scale:.9g}, zero point {tensor.zero_point}"


def _layer_info(plan: Plan, step: Step, users: Mapping[str, int]) -> LayerInfo:
    return LayerInfo(
        name=step.op.name,
        op=step.op.op,
        policy=policy_text(step.op, step.inputs),
        kernel=step.lowered.kernel,
        packing=step.lowered.packing,
        macs=step.macs(plan.graph),
        weights_bytes=step.lowered.weights_bytes,
        scratch_bytes=step.lowered.scratch_bytes,
        code_share_bytes=sum(code_bytes(file) // users[file.name] for file in step.lowered.files),
        limit_macs_per_cycle=step.lowered.limit_macs_per_cycle,
    )


def _unique(files: Iterable[SourceFile]) -> tuple[SourceFile, ...]:
    found: dict[str, SourceFile] = {}
    for file in files:
        if found.setdefault(file.name, file).text != file.text:
            raise BuildError(
                f"Two kernels bring a file '{file.name}' of different text; "
                "a kernel's name must name everything it is specialised by."
            )
    return tuple(found.values())
