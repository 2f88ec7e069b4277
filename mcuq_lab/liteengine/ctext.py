"""Pieces of C text: identifiers, arrays, structures. Equal arguments give equal text."""

from __future__ import annotations

import re
import zlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np

from mcuq_lab.quantgraph import Requantize

_NOT_C = re.compile(r"[^A-Za-z0-9_]")
_LINE = 98
_LEAST = str(-(1 << 31))


def c_identifier(name: str) -> str:
    """A C identifier for a node's name; different names give different identifiers.

    A name that is no identifier as it stands has its other characters replaced by underscores, and
    a checksum added, so that `a.b` and `a_b` stay apart.
    """
    plain = _NOT_C.sub("_", name)
    if plain == name and not name[:1].isdigit():
        return name
    return f"n_{plain}_{zlib.crc32(name.encode()):08x}"


def c_array(c_type: str, name: str, values: np.ndarray, alignment: int = 4) -> str:
    """`static const <c_type> <name>[n] = {...};` for a flat integer array."""
    items = _literals(values)
    attribute = f"__attribute__((aligned({alignment})))"
    return f"static const {c_type} {name}[{len(items)}] {attribute} = {{\n{_wrapped(items)}\n}};\n"


def c_struct(c_type: str, name: str, fields: Mapping[str, int | str | Mapping]) -> str:
    """`static const <c_type> <name> = {.field = value, ...};`; a mapping is a nested structure."""
    return f"static const {c_type} {name} = {{\n{_members(fields, '    ')}\n}};\n"


def _members(fields: Mapping[str, int | str | Mapping], indent: str) -> str:
    plain = {field: value for field, value in fields.items() if not isinstance(value, Mapping)}
    nested = [
        f"{indent}.{field} = {{\n{_members(value, indent + '    ')}\n{indent}}},"
        for field, value in fields.items()
        if isinstance(value, Mapping)
    ]
    items = [f".{field} = {value}" for field, value in plain.items()]
    return "\n".join([*nested, *([_wrapped(items, indent)] if items else [])])


def c_requantize(name: str, requantize: Requantize) -> str:
    """Start, multiplier and offset of every channel as an array of `le_requantize`."""
    columns = map(_literals, (requantize.start, requantize.multiplier, requantize.offset))
    items = [f"{{{', '.join(row)}}}" for row in zip(*columns, strict=True)]
    return f"static const le_requantize {name}[{len(items)}] = {{\n{_wrapped(items)}\n}};\n"


def c_comment(lines: list[str]) -> str:
    """A block comment."""
    safe = [line.replace("*/", "* /") for line in lines]
    if len(safe) == 1:
        return f"/* {safe[0]} */\n"
    return "\n".join(f" * {line}".rstrip() for line in safe).replace(" *", "/*", 1) + "\n */\n"


def _literals(values: np.ndarray) -> list[str]:
    items = list(map(str, np.asarray(values).reshape(-1).tolist()))
    # -2147483648 is in C the negation of a number that does not fit an int.
    if _LEAST in items:
        items = ["(-2147483647 - 1)" if item == _LEAST else item for item in items]
    return items


def _wrapped(items: Sequence[str], indent: str = "    ") -> str:
    """The items, each with a comma behind it, in lines as full as they go; at least one a line."""
    if not items:
        return ""
    # Where each item ends in a text of all of them, each with a comma and a space.
    ends = [0, *accumulate(len(item) + 2 for item in items)]
    lines, first = [], 0
    while first < len(items):
        end = bisect_right(ends, ends[first] + _LINE - len(indent), first + 1) - 1
        end = max(end, first + 1)
        lines.append(f"{indent}{', '.join(items[first:end])},")
        first = end
    return "\n".join(lines)
