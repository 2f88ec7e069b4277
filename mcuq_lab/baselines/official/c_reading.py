"""Enough reading of C to find functions in a library: definitions, prototypes, struct members.

No parser: it looks at names and brackets of code as the libraries write it, one definition or
declaration starting in the first column. The compiler has the last word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_DEFINITION = re.compile(
    r"^(?!static\b|__STATIC|typedef\b|#)(?:[A-Za-z_][\w \t*]*[ \t*]|\*+)?"
    r"([A-Za-z_]\w*)[ \t]*\(([^;{}]*)\)\s*\{",
    re.MULTILINE,
)
_NAME = re.compile(r"[A-Za-z_]\w*")
_KEYWORDS = frozenset(("if", "for", "while", "switch", "return", "else", "do"))


def without_comments(text: str) -> str:
    """The code alone; what was a comment is a space."""
    return _COMMENT.sub(" ", text)


def defined_functions(text: str) -> frozenset[str]:
    """Names of the functions that a C file defines for others."""
    found = {match.group(1) for match in _DEFINITION.finditer(without_comments(text))}
    return frozenset(found - _KEYWORDS)


def definitions(sources: Mapping[str, str]) -> dict[str, str]:
    """Path of the C file that defines each function; of several, the first in order of paths."""
    home: dict[str, str] = {}
    for path in sorted(sources):
        for name in defined_functions(sources[path]):
            home.setdefault(name, path)
    return home


def files_needed(
    sources: Mapping[str, str], home: Mapping[str, str], functions: Iterable[str]
) -> tuple[str, ...]:
    """Paths of those C files that define `functions`, or what these may call in turn; sorted.

    A superset of what is linked: every function of `home` whose name a needed file mentions
    counts. `functions` that no file defines are left out.
    """
    needed: set[str] = set()
    waiting = [home[name] for name in functions if name in home]
    while waiting:
        path = waiting.pop()
        if path not in needed:
            needed.add(path)
            mentioned = set(_NAME.findall(without_comments(sources[path])))
            waiting += [home[name] for name in mentioned if name in home]
    return tuple(sorted(needed))


def parameter_types(text: str, function: str) -> tuple[str, ...] | None:
    """Types of a function's parameters by its prototype or definition; None if it has none here."""
    match = re.search(rf"\b{function}\s*\(([^;{{}}]*?)\)\s*[;{{]", without_comments(text))
    if match is None:
        return None
    return tuple(_type_of(parameter) for parameter in match.group(1).split(","))


def struct_members(text: str, name: str) -> frozenset[str] | None:
    """Names of the members of `typedef struct { ... } name;`; None if there is none."""
    match = re.search(rf"\bstruct\s*\w*\s*\{{([^{{}}]*)\}}\s*{name}\s*;", without_comments(text))
    if match is None:
        return None
    declarations = [part.strip() for part in match.group(1).split(";") if part.strip()]
    return frozenset(_NAME.findall(piece)[-1] for line in declarations for piece in line.split(","))


def _type_of(parameter: str) -> str:
    """`const int8_t *input` and `const int8_t *` alike as `const int8_t *`.

    What is passed by value is the same type with and without const.
    """
    words = parameter.replace("*", " * ").split()
    plain = [word for word in words if word not in ("const", "*", "unsigned", "struct")]
    if len(plain) > 1:
        words.remove(plain[-1])
    if "*" not in words:
        words = [word for word in words if word != "const"]
    return " ".join(words)
