"""A bit-width policy: for each layer of a graph, the width of its weights and of its input."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from mcuq_lab.errors import ConfigError

MIN_BITS = 2
MAX_BITS = 8

_PAIR = re.compile(r"w(\d)a(\d)")


@dataclass(frozen=True, order=True)
class LayerBits:
    """Widths of one layer: its weights, and the tensor that it reads."""

    w_bits: int
    a_bits: int

    def __post_init__(self) -> None:
        for bits in (self.w_bits, self.a_bits):
            if not MIN_BITS <= bits <= MAX_BITS:
                raise ConfigError(
                    f"Bit-width {bits} is out of range; choose {MIN_BITS} to {MAX_BITS}."
                )

    def __str__(self) -> str:
        return f"w{self.w_bits}a{self.a_bits}"


@dataclass(frozen=True)
class Policy:
    """One `LayerBits` for each layer, in graph order (`Graph.layers`)."""

    layers: tuple[LayerBits, ...]

    @classmethod
    def uniform(cls, n_layers: int, w_bits: int, a_bits: int) -> Policy:
        """The same widths everywhere."""
        return cls((LayerBits(w_bits, a_bits),) * n_layers)

    @classmethod
    def of(cls, pairs) -> Policy:
        """From an iterable of (w_bits, a_bits)."""
        return cls(tuple(LayerBits(int(w), int(a)) for w, a in pairs))

    @classmethod
    def parse(cls, text: str, n_layers: int) -> Policy:
        """Reads `w4a4` (uniform), `w4a8,w2a2,...` (one a layer), or the path of a JSON file.

        A JSON file holds a list of [w_bits, a_bits], or an object with such a list under "policy".

        Raises:
            ConfigError: the text is none of these, or names another number of layers.
        """
        if text.endswith(".json"):
            policy = cls._read(Path(text))
        else:
            policy = cls(tuple(_parse_pair(part) for part in text.split(",")))
        if len(policy.layers) == 1:
            return cls(policy.layers * n_layers)
        if len(policy.layers) != n_layers:
            raise ConfigError(
                f"Policy '{text}' names {len(policy.layers)} layers, the network has {n_layers}; "
                f"give one pair for all, or {n_layers} pairs in graph order."
            )
        return policy

    @classmethod
    def _read(cls, path: Path) -> Policy:
        try:
            content = json.loads(path.read_text())
            pairs = content["policy"] if isinstance(content, dict) else content
            return cls.of(pairs)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"Policy file '{path}' cannot be read ({error}); "
                "it must hold a JSON list of [w_bits, a_bits], one a layer."
            ) from error

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """((w_bits, a_bits), ...) in graph order."""
        return tuple((layer.w_bits, layer.a_bits) for layer in self.layers)

    def __str__(self) -> str:
        """`w4a4` when uniform, else one pair a layer; `parse` reads it back."""
        if len(set(self.layers)) == 1:
            return str(self.layers[0])
        return ",".join(map(str, self.layers))


def policy_label(text: str) -> str:
    """A policy's text (`str(policy)`) for tables and figures: itself, or `mixed w5.3a4.8`, means.

    Raises:
        ConfigError: the text is no policy.
    """
    if "," not in text:
        return text
    pairs = [_parse_pair(part) for part in text.split(",")]
    w_bits = sum(pair.w_bits for pair in pairs) / len(pairs)
    a_bits = sum(pair.a_bits for pair in pairs) / len(pairs)
    return f"mixed w{w_bits:.1f}a{a_bits:.1f}"


def _parse_pair(text: str) -> LayerBits:
    match = _PAIR.fullmatch(text.strip())
    if match is None:
        raise ConfigError(
            f"'{text}' is not a bit-width pair; write for example w4a8 (weights 4, activations 8)."
        )
    return LayerBits(int(match[1]), int(match[2]))
