"""The quantized network in floating point, differentiable in its weights and steps (LSQ).

Esser et al., Learned Step Size Quantization, ICLR 2020: rounding passes gradients straight through,
and a step's own gradient is that of the quantizer between two levels. Steps are trained as their
logarithms, so they stay positive and one learning rate is a relative change for all of them.

Every tensor that the integer network stores is quantized here at the same place and in the same
way, sums and means included.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mcuq_lab.graph import Graph
from mcuq_lab.quantize.compiled import (
    quantize_flat,
    quantize_flat_backward,
    quantize_rows,
    quantize_rows_backward,
)
from mcuq_lab.quantize.inputs import input_table
from mcuq_lab.quantize.network import graph_layout, run_graph, torch_layout
from mcuq_lab.quantize.state import QuantState, weight_limits
from mcuq_lab.quantize.tensors import TensorGroup, group_of_tensor, tensor_groups


class FakeQuantized(nn.Module):
    """A float network that computes with the values an integer network can store.

    Parameters, by layer or tensor group: `weight`, `bias`, `log_weight_step` (oc,) and `log_step`
    (scalar). The input's step is fixed by its range and not trained.
    """

    def __init__(self, graph: Graph, state: QuantState) -> None:
        super().__init__()
        self.graph = graph
        self._state = state
        self._groups = group_of_tensor(tensor_groups(graph))
        self._w_bits = {
            layer.name: bits.w_bits
            for layer, bits in zip(graph.layers, state.policy.layers, strict=True)
        }
        # ParameterDict keys must not hold dots, so parameters are kept by position.
        self._layer_index = {layer.name: i for i, layer in enumerate(graph.layers)}
        self._group_index = {name: i for i, name in enumerate(state.maps)}
        self.weight = nn.ParameterList(map(torch_layout, state.weights.values()))
        self.bias = nn.ParameterList(torch.tensor(b) for b in state.biases.values())
        self.log_weight_step = nn.ParameterList(
            torch.tensor(np.log(scale)) for scale in state.weight_scales.values()
        )
        self.log_step = nn.ParameterList(
            torch.tensor(np.log(affine.scale), dtype=torch.float32)
            for affine in state.maps.values()
        )
        self.log_step[self._group_index[self._groups[graph.input.name].name]].requires_grad_(False)
        node = graph.input
        stored = input_table(state.maps[self._groups[node.name].name], node.low, node.high)
        affine = state.maps[self._groups[node.name].name]
        real = affine.scale * (stored.astype(np.float64) - affine.zero_point)
        self.register_buffer("_pixel_value", torch.tensor(real, dtype=torch.float32))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of uint8 images (N, h, w, c)."""
        return self.tensors(images)[self.graph.output.name].flatten(1)

    def tensors(self, images: Tensor) -> dict[str, Tensor]:
        """Every tensor by name, real values (N, c, h, w), of uint8 images (N, h, w, c)."""
        values: dict[str, Tensor] = {}

        def hook(name: str, y: Tensor) -> Tensor:
            group = self._groups[name]
            y = self.adjust(name, y)
            if name != self.graph.input.name and name in group.computed:
                affine = self._state.maps[group.name]
                step = self.log_step[self._group_index[group.name]]
                y = _QuantizeActivation.apply(y, step, affine.zero_point, affine.qmax)
            values[name] = y
            return y

        x = self._pixel_value[images.int()].permute(0, 3, 1, 2)
        run_graph(self.graph, self._parameters_by_name(), x, hook)
        return values

    def adjust(self, name: str, y: Tensor) -> Tensor:
        """What happens to a tensor before it is quantized: nothing here."""
        return y

    def trained_weights(self) -> list[nn.Parameter]:
        """Everything that can be trained besides the steps."""
        return [p for p in (*self.weight, *self.bias) if p.requires_grad]

    def trained_units(self) -> list[tuple[nn.Parameter, float]]:
        """As `trained_weights`, each with what counts as one step of it: the mean step of a
        layer's weights, and for a bias the step of the layer's output."""
        pairs = []
        for name, i in self._layer_index.items():
            pairs.append((self.weight[i], float(self.log_weight_step[i].detach().exp().mean())))
            if self.bias[i].requires_grad:
                pairs.append((self.bias[i], self._output_step(name)))
        return pairs

    def trained_steps(self) -> list[tuple[nn.Parameter, int]]:
        """Logarithms of all steps that can be trained, and how many steps the range reaches."""
        pairs = [
            (self.log_weight_step[i], 1 << (self._w_bits[name] - 1))
            for name, i in self._layer_index.items()
        ]
        pairs += [
            (self.log_step[i], self._state.maps[name].qmax)
            for name, i in self._group_index.items()
            if self.log_step[i].requires_grad
        ]
        return pairs

    def project(self) -> None:
        """Keeps the steps behind ReLU6 small enough that no stored value exceeds 6."""
        with torch.no_grad():
            for group in self._by_limit():
                largest = np.log(group.limit / self._state.maps[group.name].qmax)
                self.log_step[self._group_index[group.name]].clamp_(max=largest)

    def state(self) -> QuantState:
        """The present weights and steps."""
        maps = dict(self._state.maps)
        for name, i in self._group_index.items():
            if self.log_step[i].requires_grad:
                maps[name] = replace(maps[name], scale=float(self.log_step[i].detach().exp()))
        for group in self._by_limit():
            affine = maps[group.name]
            scale = min(affine.scale, group.limit / affine.qmax)
            maps[group.name] = replace(affine, scale=scale)
        names = list(self._layer_index)
        return replace(
            self._state,
            weights={n: graph_layout(w) for n, w in zip(names, self.weight, strict=True)},
            biases={n: b.detach().numpy().copy() for n, b in zip(names, self.bias, strict=True)},
            weight_scales={
                n: s.detach().exp().numpy()
                for n, s in zip(names, self.log_weight_step, strict=True)
            },
            maps=maps,
        )

    def _output_step(self, name: str) -> float:
        return self._state.maps[self._groups[name].name].scale

    def _by_limit(self) -> list[TensorGroup]:
        groups = {group.name: group for group in self._groups.values()}
        return [group for group in groups.values() if group.limit is not None]

    def _parameters_by_name(self) -> dict[str, tuple[Tensor, Tensor]]:
        return {
            name: (
                _QuantizeWeight.apply(
                    self.weight[i], self.log_weight_step[i], *weight_limits(self._w_bits[name])
                ),
                self.bias[i],
            )
            for name, i in self._layer_index.items()
        }


class _QuantizeActivation(torch.autograd.Function):
    """Per-tensor quantization of (N, c, h, w), trained step, fixed zero point."""

    @staticmethod
    def forward(ctx, x: Tensor, log_step: Tensor, zero_point: int, qmax: int) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        out = torch.empty_like(x)
        scale = np.exp(log_step.numpy())
        quantize_flat(_flat(x), scale, zero_point, qmax, _flat(out))
        ctx.save_for_backward(x)
        ctx.constants = (scale, zero_point, qmax)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        (x,) = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        dx = torch.empty_like(x)
        dscale = quantize_flat_backward(_flat(x), _flat(gradient), *ctx.constants, _flat(dx))
        return dx, torch.tensor(dscale * ctx.constants[0]), None, None


class _QuantizeWeight(torch.autograd.Function):
    """Per-channel symmetric quantization of (oc, ic, kh, kw) or (oc, ic), trained steps."""

    @staticmethod
    def forward(ctx, weight: Tensor, log_step: Tensor, low: int, high: int) -> Tensor:
        if weight.ndim == 4:
            weight = weight.contiguous(memory_format=torch.channels_last)
        out = torch.empty_like(weight)
        scale = np.exp(log_step.numpy())
        quantize_rows(_rows(weight), scale, low, high, _rows(out))
        ctx.save_for_backward(weight)
        ctx.constants = (scale, low, high)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        (weight,) = ctx.saved_tensors
        if weight.ndim == 4:
            gradient = gradient.contiguous(memory_format=torch.channels_last)
        dw = torch.empty_like(weight)
        scale = ctx.constants[0]
        dscale = np.empty_like(scale)
        quantize_rows_backward(_rows(weight), _rows(gradient), *ctx.constants, _rows(dw), dscale)
        return dw, torch.from_numpy(dscale * scale), None, None


def _flat(x: Tensor) -> np.ndarray:
    """View of a channels_last tensor's memory as one vector."""
    return x.detach().permute(0, 2, 3, 1).reshape(-1).numpy()


def _rows(weight: Tensor) -> np.ndarray:
    """View of a channels_last or two-dimensional weight's memory as (oc, everything else)."""
    if weight.ndim == 4:
        weight = weight.permute(0, 2, 3, 1)
    return weight.detach().reshape(weight.shape[0], -1).numpy()
