"""Layers in strips as one kernel call: C of a loop over strips, around the families' kernels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from mcuq_lab.liteengine.ctext import c_comment, c_identifier
from mcuq_lab.liteengine.kernels.specialise import kernel_header
from mcuq_lab.liteengine.layer_text import layer_text
from mcuq_lab.liteengine.lowering import Lowered
from mcuq_lab.liteengine.memory import aligned
from mcuq_lab.liteengine.schedule import FLASH_PRICE, Family
from mcuq_lab.liteengine.sharing import SharedChoice
from mcuq_lab.liteengine.strip_geometry import Sight, Turns, whole_rows
from mcuq_lab.liteengine.strips import Strips
from mcuq_lab.quantgraph import QOp, QTensor
from mcuq_lab.target import Target

WORTH_ITS_SCRATCH = 0.995
"""Ways with more scratch are offered if they take at most this part of the cycles."""

FRAME_BYTES = 208
"""Stack that layers in strips take beyond what they take by themselves, for where rows lie and a
copy of a layer's constants; measured were 184 to 232."""

_CALL_CYCLES = 250  # beside the kernel: rows, and a copy of the layer's constants
_MOVED_BYTE_CYCLES = 1.0

_INPUT = re.compile(r"\{in(\d+)\}")


class StripFamily:
    """The ways to compute `Strips`, made of those of a network's families; a `Family` itself."""

    def __init__(self, families: Sequence[Family]) -> None:
        self._families = tuple(families)

    def __call__(
        self, op: QOp, tensors: Mapping[str, QTensor], target: Target, /
    ) -> tuple[Lowered, ...]:
        if not isinstance(op, Strips):
            return ()
        ways = [self._ways(op, part, target) for part in op.ops]
        return tuple(_offered(op, ways)) if all(ways) else ()

    def _ways(self, strips: Strips, op: QOp, target: Target) -> list[Lowered]:
        """Of one operator, on strips of its tensors; cycles are those of the whole map."""
        tensors = strips.strip_tensors(op)
        whole = {
            (way.kernel, way.packing): way.predicted_cycles
            for way in self._of_parts(op, strips.tensors, target)
        }
        return [
            replace(way, predicted_cycles=_cycles(strips, op, way, whole))
            for way in self._of_parts(op, tensors, target)
            if runs_in(strips, op, way)
        ]

    def _of_parts(
        self, op: QOp, tensors: Mapping[str, QTensor], target: Target
    ) -> Iterator[Lowered]:
        return (way for family in self._families for way in family(op, tensors, target))


def _cycles(strips: Strips, op: QOp, way: Lowered, whole: Mapping[tuple[str, str], int]) -> int:
    """Of all calls together: what each takes whatever its rows, and what a row takes.

    Both follow from the cycles of the largest call and of the `whole` map, where these are known.
    """
    unit = way.by_rows.together
    rows = [whole_rows(out_h, unit) for _, out_h in strips.calls(op)]
    most, height = max(rows), whole_rows(strips.height(op), unit)
    known = whole.get((way.kernel, way.packing))
    if known is None or most == height:
        return round(way.predicted_cycles * sum(rows) / most)
    row = min((known - way.predicted_cycles) / (height - most), way.predicted_cycles / most)
    return round(sum(rows) * row + len(rows) * (way.predicted_cycles - most * row))


def runs_in(strips: Strips, op: QOp, way: Lowered) -> bool:
    """Whether an operator in strips can be computed in this way."""
    replaced, over = strips.geometry.demands[op.name]
    if over and not any(ahead.lead_bytes <= 0 for ahead in way.ahead):
        return False
    return way.by_rows is not None and replaced <= set(way.in_place)


def _offered(strips: Strips, ways: Sequence[Sequence[Lowered]]) -> Iterator[Lowered]:
    """For scratch of different sizes the best choice of kernels that it allows."""
    smallest = max(min(way.scratch_bytes for way in some) for some in ways)
    limits = sorted({way.scratch_bytes for some in ways for way in some})
    shared = SharedChoice.of(ways, [[way.predicted_cycles for way in some] for some in ways])
    best = None
    for limit in limits:
        if limit < smallest:
            continue
        fitting = [[i for i, way in enumerate(some) if way.scratch_bytes <= limit] for some in ways]
        among = shared.among(fitting)
        cycles = among.cycles(among.fastest())
        if best is None or cycles <= WORTH_ITS_SCRATCH * best:
            best = cycles
            choice = among.best(FLASH_PRICE * cycles / 1024)
            chosen = zip(ways, fitting, choice, strict=True)
            yield _lowered(strips, [some[numbers[i]] for some, numbers, i in chosen])


def _lowered(strips: Strips, ways: Sequence[Lowered]) -> Lowered:
    """All of it as one call."""
    name = f"{c_identifier(strips.name)}_strips"
    work = max(way.scratch_bytes for way in ways)
    headers = (kernel_header("le_strips.h"),)
    return Lowered(
        kernel=name,
        packing=f"strips of {strips.rows} rows",
        files=tuple(dict.fromkeys((*headers, *(file for way in ways for file in way.files)))),
        declarations=lambda: _text(strips, ways, name),
        call=f"{name}({{in0}}, {{out}}, {{scratch}});",
        weights_bytes=sum(way.weights_bytes for way in ways),
        scratch_bytes=strips.maps_bytes + aligned(work),
        in_place=(0,) if strips.over else (),
        ahead=strips.ahead,
        predicted_cycles=sum(way.predicted_cycles for way in ways) + overhead_cycles(strips),
    )


def overhead_cycles(strips: Strips) -> int:
    """Estimate: calls of the kernels, and rows that move."""
    calls = strips.geometry.call_count
    moved = sum(strips.row_bytes(name) * rows for name, rows in strips.geometry.moved_rows)
    return round(_CALL_CYCLES * calls + _MOVED_BYTE_CYCLES * moved * strips.strips)


def _text(strips: Strips, ways: Sequence[Lowered], name: str) -> str:
    """C of the layers' constants, of a function for each layer, and of the loop over strips."""
    layers = "".join(map(_layer, [strips] * len(ways), strips.ops, ways))
    source = strips.tensors[strips.inputs[0]]
    maps = [_map(strips, source.name, "(uint8_t *)(uintptr_t)in", source.shape.h)]
    maps += [_map(strips, tensor, f"scratch + {at}", 0) for tensor, at in strips.places.items()]
    maps.append(_map(strips, strips.output, "out", 0))
    steps = [
        line for op, way in zip(strips.ops, ways, strict=True) for line in _turn(strips, op, way)
    ]
    for tensor in strips.maps:
        steps.append(f"le_strip_keep(&{_variable(tensor)}, {_rows(strips.first_kept(tensor))});")
    work = f"    uint8_t *work = scratch + {strips.maps_bytes};\n"
    scratch = work if any("{scratch}" in way.call for way in ways) else ""
    unused = "" if scratch or strips.maps else "    (void)scratch;\n"
    comment = c_comment(
        [
            f"{strips.rows} rows of {strips.output} a strip. The maps in front of it hold the rows",
            "that are still to be read; each row is computed once.",
        ]
    )
    return (
        f"{layers}{comment}"
        f"static void {name}(const uint8_t *in, uint8_t *out, uint8_t *scratch) {{\n"
        + "".join(f"    {line}\n" for line in maps)
        + scratch
        + unused
        + f"    for (int32_t strip = {strips.first_strip}; strip < {strips.strips}; ++strip) {{\n"
        + "".join(f"        {line}\n" for line in steps)
        + "    }\n}\n"
    )


def _map(strips: Strips, tensor: str, place: str, end: int) -> str:
    height = strips.tensors[tensor].shape.h
    fields = (place, strips.row_bytes(tensor), height, 0, end)
    return f"le_strip {_variable(tensor)} = {{{', '.join(map(str, fields))}}};"


def _turn(strips: Strips, op: QOp, way: Lowered) -> Iterator[str]:
    """A layer's turn in a strip."""
    home = strips.homes[op.output]
    if op.output in strips.over:
        under, done = (_variable(name) for name in (strips.over[op.output], strips.output))
        height, pad_top = strips.height(op), Sight.of(op).pad_top
        yield (
            f"le_strip {_variable(op.output)} = "
            f"le_strip_over(&{under}, {height}, {done}.end, {pad_top});"
        )
    elif home != op.output:
        yield f"le_strip {_variable(op.output)} = le_strip_behind(&{_variable(home)});"
    arguments = [f"&{_variable(tensor)}" for tensor in (*op.inputs, op.output)]
    arguments.append(_rows(strips.turns[op.name]))
    if "{scratch}" in way.call:
        arguments.append("work")
    yield f"{c_identifier(op.name)}_rows({', '.join(arguments)});"


def _layer(strips: Strips, op: QOp, way: Lowered) -> str:
    """Constants of a layer, and its function for some rows."""
    name, sight = c_identifier(op.name), Sight.of(op)
    inputs = [strips.tensors[tensor] for tensor in op.inputs]
    parameters = [f"const le_strip *in{i}" for i in range(len(inputs))]
    parameters += ["le_strip *out", "int32_t end"]
    if "{scratch}" in way.call:
        parameters.append("uint8_t *scratch")
    members = "".join(f"    layer.{member} = {value};\n" for member, value in way.by_rows.members)
    call = way.call.replace(f"&{name}_layer", "&layer")
    call = _INPUT.sub(_pointer, call).replace("{out}", "rows.out").replace("{scratch}", "scratch")
    text = layer_text(op, way, inputs, strips.tensors[op.output])
    return (
        f"{c_comment(text)}{way.constants}"
        f"static void {name}_rows({', '.join(parameters)}) {{\n"
        "    le_strip_rows rows;\n"
        f"    if (!le_strip_next(&rows, in0, out, end, {sight.kernel}, {sight.stride}, "
        f"{sight.pad_top})) {{\n        return;\n    }}\n"
        f"    {way.by_rows.layer_type} layer;\n"
        f"    le_copy(&layer, &{name}_layer, sizeof layer);\n"
        f"{members}    {call}\n}}\n\n"
    )


def _pointer(match: re.Match) -> str:
    index = int(match[1])
    return "rows.in" if index == 0 else f"le_strip_row(in{index}, rows.first)"


def _rows(turns: Turns) -> str:
    """C of a number of rows after a strip."""
    sign = "+" if turns.lead >= 0 else "-"
    return f"{turns.step} * strip {sign} {abs(turns.lead)}"


def _variable(tensor: str) -> str:
    return f"map_{c_identifier(tensor)}"
