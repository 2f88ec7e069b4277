"""The fake-quantized network with live channel statistics, for training.

A network whose batch norm has been folded trains badly with few bits: each change of a step or a
rounded weight shifts and scales a whole channel, and all layers behind it see something new. So
while training lasts, every layer's output is normalized by the statistics of its batch, with the
standard deviation (as `log_gamma`) and mean (`beta`) that it shall have as parameters; afterwards
the statistics are measured once more and folded into biases, weights and steps. The integers of the
weights do not notice, since a channel's weights and step get the same gain. So gamma is the part of
a step that scales, the weights' own step the part that rounds.

Short fine-tuning begins with the deviations and means that the quantized network has. Long training
begins with the float network's (`aim_at_float`): at 2 bits whole channels of a deep network are
constant after rounding, and a deviation of zero is a target that no gradient leaves.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mcuq_lab.graph import Activation, Graph
from mcuq_lab.quantize.fake import FakeQuantized
from mcuq_lab.quantize.network import activate, graph_parameters, real_images, run_graph
from mcuq_lab.quantize.state import QuantState

_EPSILON = 1e-8


class NormalizedFakeQuantized(FakeQuantized):
    """`FakeQuantized` whose layers are normalized over the batch.

    Layers with a single output pixel are not: a batch of them says too little of their statistics.

    Args:
        graph, state: as for `FakeQuantized`.
        images: some hundred uint8 NHWC training images, on which statistics are measured.
        aim_at_float: begin with the float network's deviations and means instead of those that the
            quantized network has.
    """

    def __init__(
        self, graph: Graph, state: QuantState, images: np.ndarray, *, aim_at_float: bool = False
    ) -> None:
        super().__init__(graph, state)
        self._images = torch.from_numpy(images)
        self._normalized = {
            layer.name: i
            for i, layer in enumerate(
                layer
                for layer in graph.layers
                if graph.shapes[layer.name].size > layer.out_channels
            )
        }
        # None while the targets are being measured: outputs then pass unchanged.
        self.log_gamma: nn.ParameterList | None = None
        wanted = (
            _float_statistics(graph, images, self._normalized) if aim_at_float else self._measure()
        )
        self.log_gamma = nn.ParameterList(deviation.log() for _, deviation in wanted.values())
        self.beta = nn.ParameterList(mean for mean, _ in wanted.values())
        for name in self._normalized:
            # The mean of the batch takes the bias away; beta is in its place.
            self.bias[self._layer_index[name]].requires_grad_(False)

    def adjust(self, name: str, y: Tensor) -> Tensor:
        if name not in self._normalized:
            return y
        if self._statistics is not None:
            self._statistics[name] = _mean_and_deviation(y)
        if self.log_gamma is None:
            return y
        i = self._normalized[name]
        gamma = self.log_gamma[i].exp()
        return F.batch_norm(y, None, None, gamma, self.beta[i], True, eps=_EPSILON)

    def trained_weights(self) -> list[nn.Parameter]:
        return [*super().trained_weights(), *self.beta]

    def trained_units(self) -> list[tuple[nn.Parameter, float]]:
        units = [(self.beta[i], self._output_step(name)) for name, i in self._normalized.items()]
        return [*super().trained_units(), *units]

    @torch.no_grad()
    def count_in_steps(self) -> None:
        """Divides each normalized channel's weights by their step, which so becomes 1.

        The network computes as before, since normalization undoes a channel's gain; but now one
        learning rate means the same for the weights of all channels.
        """
        for name in self._normalized:
            i = self._layer_index[name]
            steps = self.log_weight_step[i].exp()
            self.weight[i] /= steps.reshape(-1, *[1] * (self.weight[i].ndim - 1))
            self.bias[i] /= steps
            self.log_weight_step[i].zero_()

    def trained_steps(self) -> list[tuple[nn.Parameter, int]]:
        gains = [
            (self.log_gamma[i], self._state.maps[self._groups[name].name].qmax)
            for name, i in self._normalized.items()
        ]
        return [*super().trained_steps(), *gains]

    def state(self) -> QuantState:
        """The present weights and steps, with the statistics of `images` folded in."""
        state, measured = super().state(), self._measure()
        weights, biases = dict(state.weights), dict(state.biases)
        scales = dict(state.weight_scales)
        for name, i in self._normalized.items():
            mean, deviation = (statistic.numpy() for statistic in measured[name])
            gain = self.log_gamma[i].detach().exp().numpy() / deviation
            weights[name] = weights[name] * gain.reshape(-1, *[1] * (weights[name].ndim - 1))
            scales[name] = scales[name] * gain
            biases[name] = self.beta[i].detach().numpy() + gain * (biases[name] - mean)
        return replace(state, weights=weights, biases=biases, weight_scales=scales)

    @torch.no_grad()
    def _measure(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Mean and standard deviation of each normalized layer's channels before normalization."""
        self._statistics = {}
        self(self._images)
        statistics, self._statistics = self._statistics, None
        return statistics

    _statistics: dict[str, tuple[Tensor, Tensor]] | None = None


def _mean_and_deviation(y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (c,) of the channels of (N, c, h, w)."""
    deviation, mean = torch.std_mean(y, (0, 2, 3), correction=0)
    return mean, (deviation**2 + _EPSILON).sqrt()


@torch.no_grad()
def _float_statistics(
    graph: Graph, images: np.ndarray, names: Container[str]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and standard deviation of the float network's layers `names` before activation."""
    found = {}

    def hook(name: str, y: Tensor) -> Tensor:
        if name in names:
            found[name] = _mean_and_deviation(y)
        return activate(y, getattr(graph.by_name[name], "activation", Activation.NONE))

    run_graph(graph, graph_parameters(graph), real_images(graph, images), hook)
    return found
