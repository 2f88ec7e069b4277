"""A synthetic objective for tests: the search's shape (layers, widths, costs), nobody's numbers.

Accuracy is invented: layers differ in sensitivity, noise adds up and is squashed, and a small
deterministic scatter stands for training. Cycles are a staircase in the widths plus a layer effect.
Nothing here was measured; it only serves to test the machinery and to compare proposers.
"""

from __future__ import annotations

import hashlib
import os
import time

import numpy as np

from mcuq_lab.graph import (
    Activation,
    Add,
    Conv2d,
    FullyConnected,
    GlobalAveragePool,
    Graph,
    Input,
    Shape,
    Window,
)
from mcuq_lab.policy import Policy
from mcuq_lab.results import Row
from mcuq_lab.rlquant.evaluation import Evaluator
from mcuq_lab.rlquant.memory import live_tensors
from mcuq_lab.rlquant.planned import Planned
from mcuq_lab.rlquant.space import SearchSpace, to_bits

# Relative cost of one MAC by width, a staircase as packing makes it (2, 3, 4, 5-8 bits).
_W_COST = {2: 0.55, 3: 0.7, 4: 0.7, 5: 1.0, 6: 1.0, 7: 1.0, 8: 1.0}
_A_COST = {2: 0.45, 3: 0.55, 4: 0.6, 5: 0.95, 6: 0.95, 7: 0.95, 8: 1.0}
_OTHER_CYCLES = 50_000  # of everything beside the layers with weights


def residual_net(stages: int = 3, blocks: int = 1, width: int = 8, size: int = 16) -> Graph:
    """A small residual network: stem, `stages` of `blocks` blocks, pool, classifier."""
    rng = np.random.default_rng(0)
    nodes: list = [Input("input", (), Shape(size, size, 3))]

    def conv(name, source, ic, oc, kernel, stride, activation=Activation.RELU):
        weight = rng.normal(size=(oc, kernel, kernel, ic)).astype(np.float32)
        window = Window.square(kernel, stride, kernel // 2)
        bias = np.zeros(oc, np.float32)
        nodes.append(Conv2d(name, (source,), weight, bias, activation, window))
        return name

    x, channels = conv("stem", "input", 3, width, 3, 1), width
    for stage in range(stages):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            oc = width << stage
            prefix = f"s{stage}b{block}"
            y = conv(f"{prefix}_conv1", x, channels, oc, 3, stride)
            y = conv(f"{prefix}_conv2", y, oc, oc, 3, 1, Activation.NONE)
            if stride != 1 or oc != channels:
                x = conv(f"{prefix}_shortcut", x, channels, oc, 1, stride, Activation.NONE)
            nodes.append(Add(f"{prefix}_add", (y, x), Activation.RELU))
            x, channels = f"{prefix}_add", oc
    nodes.append(GlobalAveragePool("pool", (x,)))
    weight = rng.normal(size=(10, channels)).astype(np.float32)
    nodes.append(FullyConnected("fc", ("pool",), weight, np.zeros(10, np.float32)))
    return Graph("synthetic", tuple(nodes))


class SyntheticEvaluator(Evaluator):
    """`Evaluator` on the invented objective.

    Args:
        fault_rate: part of the policies that end with a fault, chosen by their content.
        sleep_s: seconds that each evaluation takes.
        log: file to which each evaluated policy is appended.
    """

    def __init__(
        self, graph: Graph, *, seed: int = 0, noise: float = 0.01, fault_rate: float = 0.0,
        sleep_s: float = 0.0, log: str = "",
    ) -> None:  # fmt: skip
        self.graph = graph
        self.float_accuracy = 0.9
        self.sysclk_hz = 16_000_000
        self.board_sram_bytes, self.board_flash_bytes = 256 << 10, 1 << 20
        self._space = SearchSpace(graph)
        self._lifetimes = live_tensors(self._space)
        rng = np.random.default_rng(seed)
        n = len(graph.layers)
        self._sensitivity = np.exp(rng.normal(0.0, 0.9, (n, 2))) / n
        self._coupling = rng.uniform(0.0, 1.0, (n, n)) / n**1.5
        self._layer_rate = np.exp(rng.normal(0.0, 0.25, n))
        self._noise, self._fault_rate = noise, fault_rate
        self._sleep_s, self._log = sleep_s, log

    def evaluate(self, policy: Policy) -> Row:
        if self._log:
            with open(self._log, "a") as file:
                file.write(f"{policy}\n")
        time.sleep(self._sleep_s)
        bits = to_bits([policy])[0]
        luck = np.random.default_rng(
            int.from_bytes(hashlib.sha256(str(policy).encode()).digest()[:8])
        )
        common = {
            "evaluation": 0, "model": "synthetic", "data": "none", "board": "none",
            "engine": "synthetic", "policy": policy.pairs, "origin": "", "simulated": True,
            "seconds": {"run": self._sleep_s},
        }  # fmt: skip
        if luck.random() < self._fault_rate:
            return Row(status="fault", message="injected", **common)
        layer_cycles = self._cycles(bits)
        sram = self._sram_bytes(bits)
        accuracy = self.true_accuracy(bits) + luck.normal(0.0, self._noise)
        flash = self.image_bytes(policy)
        total = int(layer_cycles.sum() + _OTHER_CYCLES)
        return Row(
            status="ok", cycles_min=total, cycles_median=total, cycles_max=total,
            sysclk_hz=self.sysclk_hz, flash_wait_states=0, sram_peak_bytes=sram,
            flash_total_bytes=flash, accuracy_quick=float(np.clip(accuracy, 0.0, 1.0)),
            n_images=5000, bit_exact=True,
            layer_names=tuple(layer.name for layer in self.graph.layers),
            layer_cycles=tuple(int(c) for c in layer_cycles),
            **common,
        )  # fmt: skip

    def true_accuracy(self, bits: np.ndarray) -> float:
        """Accuracy without scatter, between 0.1 and `float_accuracy`."""
        bits = self._space.canonical(bits).astype(np.float64)
        noise = self._sensitivity * np.stack(
            [3.0 ** -(bits[:, 0] - 2), 3.0 ** -(bits[:, 1] - 2)], -1
        )
        per_layer = noise.sum(axis=1)
        total = noise.sum() + np.sqrt(per_layer) @ self._coupling @ np.sqrt(per_layer)
        return float(0.1 + (self.float_accuracy - 0.1) * np.exp(-((0.9 * total) ** 1.2)))

    def plan(self, policy: Policy) -> Planned:
        """Peak SRAM, and cycles in some other unit."""
        bits = to_bits([policy])[0]
        cycles = self._cycles(bits).sum() + _OTHER_CYCLES
        return Planned(self._sram_bytes(bits), int(0.9 * cycles))

    def _sram_bytes(self, bits: np.ndarray) -> int:
        """Live tensors, less what runs in place, plus scratch and stack."""
        return int(0.8 * self._lifetimes.peak_bytes(bits) + 900 + 12 * bits[:, 1].max())

    def image_bytes(self, policy: Policy) -> int:
        """Flash: all code, and the weights."""
        weights = zip(self.graph.layers, policy.layers, strict=True)
        return int(20_000 + sum(layer.weight.size * bits.w_bits / 8 for layer, bits in weights))

    def sensitivity(self) -> np.ndarray:
        """Drop of the true accuracy by each width alone, (L, 2, 7)."""
        n = len(self.graph.layers)
        top = self._space.uniform(8, 8)
        drop = np.zeros((n, 2, 7))
        for layer in range(n):
            for side in range(2):
                for width in range(2, 8):
                    bits = top.copy()
                    shared = self._space.input_groups == self._space.input_groups[layer]
                    bits[shared if side else layer, side] = width
                    lost = self.true_accuracy(top) - self.true_accuracy(bits)
                    drop[layer, side, width - 2] = lost
        return np.maximum(drop, 0.0)

    def close(self) -> None:
        pass

    def _cycles(self, bits: np.ndarray) -> np.ndarray:
        bits = self._space.canonical(bits)
        macs = np.array([self.graph.macs(layer) for layer in self.graph.layers])
        cost = np.array([_W_COST[int(w)] * _A_COST[int(a)] for w, a in bits])
        return macs * cost * self._layer_rate + 2_000


def make_evaluator(config) -> SyntheticEvaluator:
    """What the search process imports by name; the environment variables come from the tests."""
    return SyntheticEvaluator(
        residual_net(),
        sleep_s=float(os.environ.get("SYNTHETIC_SLEEP_S", "0")),
        fault_rate=float(os.environ.get("SYNTHETIC_FAULT_RATE", "0")),
        log=os.environ.get("SYNTHETIC_LOG", ""),
    )


def make_deep_evaluator(config) -> SyntheticEvaluator:
    """The same of 28 layers."""
    return SyntheticEvaluator(residual_net(blocks=4))
