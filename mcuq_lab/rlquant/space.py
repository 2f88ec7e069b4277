"""The search space: what is chosen for each layer, which choices are one and the same network.

Inside the search a policy is an integer array of bit-widths, `bits` of shape (..., L, 2) with
[..., 0] the weights' and [..., 1] the activations' width (of the layer's *input*); `Policy` is what
leaves the search. Tensors that several layers read have one width, the largest that any of them
asks for, so policies that differ only below that maximum are the same network: `canonical` maps
each onto its representative, and no evaluation is spent twice.

A space may be restricted: layers tied to each other have one pair of widths, and only some pairs
are allowed. It is then small enough to be measured as a whole (see `tabular`), and `canonical`
projects whatever a method proposes onto it. *Genes* are the free integers of a space, for methods
that know vectors only: all widths, or for each tie the number of its pair.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mcuq_lab.errors import ConfigError
from mcuq_lab.graph import DepthwiseConv2d, FullyConnected, Graph
from mcuq_lab.policy import MAX_BITS, MIN_BITS, Policy
from mcuq_lab.quantize.tensors import group_of_tensor, tensor_groups

N_WIDTHS = MAX_BITS - MIN_BITS + 1
"""Choices for one width; an action is an index, 0 for `MIN_BITS`."""

FEATURES = (
    "index", "is_depthwise", "is_fully_connected", "log_ic", "log_oc", "kernel", "stride",
    "log_input_size", "log_macs", "log_parameters", "shares_input",
)  # fmt: skip
"""Columns of `SearchSpace.features`: HAQ's layer descriptors (Wang et al. 2019, section 3.1)."""


@dataclass(frozen=True)
class SearchSpace:
    """All policies of one network, or those of a restricted space.

    Attributes:
        graph: the network.
        ties: number of each layer's tie, from 0, in the order of their first layers; empty: every
            layer for itself. Layers that read one stored tensor must be tied to each other.
        choices: the (w_bits, a_bits) allowed; empty: all. Given together with `ties`.

    Raises:
        ConfigError: ties and choices do not fit the network.
    """

    graph: Graph
    ties: tuple[int, ...] = ()
    choices: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if not self.restricted:
            if self.ties:
                raise ConfigError("A restricted space needs its choices besides its ties.")
            return
        if len(self.ties) != self.n_layers:
            raise ConfigError(
                f"{len(self.ties)} ties for the {self.n_layers} layers of '{self.graph.name}'; "
                "give one number a layer."
            )
        if list(dict.fromkeys(self.ties)) != list(range(max(self.ties) + 1)):
            raise ConfigError(
                f"Ties {self.ties} must be numbered from 0 in the order of their first layers."
            )
        if len(set(self.choices)) != len(self.choices):
            raise ConfigError(f"Some of the choices {self.choices} are equal.")
        widths = np.array(self.choices)
        if widths.min() < MIN_BITS or widths.max() > MAX_BITS:
            raise ConfigError(f"Widths of choices must lie in {MIN_BITS}..{MAX_BITS}.")
        for members in self._shared:
            if len({self.ties[member] for member in members}) > 1:
                names = ", ".join(self.graph.layers[member].name for member in members)
                raise ConfigError(f"Layers {names} read one tensor: tie them to each other.")

    @property
    def restricted(self) -> bool:
        return bool(self.choices)

    @property
    def n_layers(self) -> int:
        return len(self.graph.layers)

    @property
    def size(self) -> int:
        """Number of policies of a restricted space."""
        return len(self.choices) ** (max(self.ties) + 1)

    @cached_property
    def _members(self) -> list[np.ndarray]:
        """The layers of each tie."""
        return [np.flatnonzero(np.array(self.ties) == tie) for tie in range(max(self.ties) + 1)]

    @cached_property
    def allowed(self) -> np.ndarray:
        """Which pairs of widths are allowed, bool (N_WIDTHS, N_WIDTHS), the same for all layers."""
        allowed = np.full((N_WIDTHS, N_WIDTHS), not self.restricted)
        for w, a in self.choices:
            allowed[w - MIN_BITS, a - MIN_BITS] = True
        return allowed

    def tied(self, layer: int) -> np.ndarray:
        """The layers that have the same widths as `layer`, itself included."""
        return self._members[self.ties[layer]] if self.restricted else np.array([layer])

    @cached_property
    def decisions(self) -> tuple[int, ...]:
        """The layers whose widths are decided: all, or the first of each tie."""
        return tuple(i for i in range(self.n_layers) if self.tied(i)[0] == i)

    def open_choices(self, bits: np.ndarray, layer: int) -> np.ndarray:
        """As `allowed`, for `layer` of a policy (L, 2) whose earlier layers are decided."""
        first = self.tied(layer)[0]
        if first == layer:
            return self.allowed
        only = np.zeros((N_WIDTHS, N_WIDTHS), dtype=bool)
        only[tuple(bits[first] - MIN_BITS)] = True
        return only

    @cached_property
    def input_groups(self) -> np.ndarray:
        """Group number of each layer, shape (L,): layers of one group read one stored tensor."""
        group_of = group_of_tensor(tensor_groups(self.graph))
        names = [group_of[layer.inputs[0]].name for layer in self.graph.layers]
        order = list(dict.fromkeys(names))
        return np.array([order.index(name) for name in names])

    @cached_property
    def _shared(self) -> list[np.ndarray]:
        """The layers of each group that has more than one."""
        groups = self.input_groups
        members = [np.flatnonzero(groups == group) for group in range(groups.max() + 1)]
        return [m for m in members if len(m) > 1]

    @cached_property
    def features(self) -> np.ndarray:
        """Descriptors of the layers scaled to about [0, 1], float32 of shape (L, len(FEATURES))."""
        raw = np.array([self._describe(i) for i in range(self.n_layers)], dtype=np.float32)
        scale = np.abs(raw).max(axis=0)
        return raw / np.where(scale > 0, scale, 1.0)

    def _describe(self, index: int) -> tuple[float, ...]:
        layer = self.graph.layers[index]
        (x,) = self.graph.input_shapes(layer)
        window = getattr(layer, "window", None)
        groups = self.input_groups
        return (
            index + 1,
            isinstance(layer, DepthwiseConv2d),
            isinstance(layer, FullyConnected),
            np.log2(x.c),
            np.log2(layer.out_channels),
            window.kernel_h if window else 1,
            window.stride_h if window else 1,
            np.log2(x.size),
            np.log2(self.graph.macs(layer)),
            np.log2(layer.parameter_count),
            (groups == groups[index]).sum() > 1,
        )

    def canonical(self, bits: np.ndarray) -> np.ndarray:
        """The representative of each policy, same shape (..., L, 2): effective input widths.

        In a restricted space each tie takes the pair nearest to the mean of its layers' widths.
        """
        result = np.array(bits, dtype=np.int8)
        if self.restricted:
            result = self.decode(self.encode(result))
        for members in self._shared:
            result[..., members, 1] = result[..., members, 1].max(axis=-1, keepdims=True)
        return result

    def random(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """`n` policies drawn uniformly, canonical, shape (n, L, 2)."""
        low, high, n_genes = self.gene_range
        return self.canonical(self.decode(rng.integers(low, high + 1, (n, n_genes))))

    @property
    def gene_range(self) -> tuple[int, int, int]:
        """Lowest and highest value of a gene, and the number of genes."""
        if self.restricted:
            return 0, len(self.choices) - 1, len(self._members)
        return MIN_BITS, MAX_BITS, 2 * self.n_layers

    def encode(self, bits: np.ndarray) -> np.ndarray:
        """Genes (..., G) of policies (..., L, 2): those of the nearest policy of the space."""
        bits = np.asarray(bits)
        if not self.restricted:
            return bits.reshape(*bits.shape[:-2], -1)
        mean = np.stack([bits[..., m, :].mean(axis=-2) for m in self._members], axis=-2)
        distance = np.abs(mean[..., None, :] - np.array(self.choices)).sum(axis=-1)
        return distance.argmin(axis=-1)

    def decode(self, genes: np.ndarray) -> np.ndarray:
        """Policies, int8 (..., L, 2), of genes (..., G)."""
        genes = np.asarray(genes)
        if not self.restricted:
            return genes.reshape(*genes.shape[:-1], self.n_layers, 2).astype(np.int8)
        return np.array(self.choices, dtype=np.int8)[genes[..., np.array(self.ties)]]

    def uniform(self, w_bits: int, a_bits: int) -> np.ndarray:
        """The same widths everywhere, shape (L, 2)."""
        return np.tile(np.array([w_bits, a_bits], dtype=np.int8), (self.n_layers, 1))


def tied_policies(ties: Sequence[int], choices: Sequence[tuple[int, int]]) -> np.ndarray:
    """Every policy of a restricted space, int8 (n, L, 2), the last tie changing fastest."""
    shape = (len(choices),) * (max(ties) + 1)
    genes = np.stack(np.unravel_index(np.arange(np.prod(shape)), shape), axis=-1)
    return np.array(choices, dtype=np.int8)[genes[:, np.array(ties)]]


def to_policy(bits: np.ndarray) -> Policy:
    """The policy of an array (L, 2)."""
    return Policy.of(map(tuple, bits.tolist()))


def to_bits(policies: Iterable[Policy]) -> np.ndarray:
    """Bits of policies, shape (n, L, 2)."""
    return np.array([policy.pairs for policy in policies], dtype=np.int8)
