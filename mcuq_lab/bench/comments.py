"""C without its comments: what an object file depends on.

Generated files say in comments what changes with any layer: the policy, predicted cycles. A file
that differs from an earlier one in nothing else needs no compiling.
"""

from __future__ import annotations

import functools
import re

# What may hold the signs of a comment without being one comes first.
_TOKENS = re.compile(
    r'"(?:\\.|[^"\\\n])*"'
    r"|'(?:\\.|[^'\\\n])*'"
    r"|//[^\n]*"
    r"|(?P<comment>/\*.*?\*/)",
    re.DOTALL,
)
# Continued lines and trigraphs could hide where a string or a comment of one line ends.
_UNCLEAR = re.compile(r"\\\s*\n|\?\?")


@functools.lru_cache(maxsize=4096)
def without_comments(text: str) -> str:
    """The C with each block comment replaced by a blank and its line ends, so that lines keep their
    numbers. A text in which it is not plain what is a comment stays as it is."""
    return text if _UNCLEAR.search(text) else _TOKENS.sub(_blank, text)


def _blank(match: re.Match[str]) -> str:
    comment = match["comment"]
    return match[0] if comment is None else " " + "\n" * comment.count("\n")
