"""The fake-quantized network against the integer network, and its gradients."""

import numpy as np
import pytest
import torch

from mcuq_lab.policy import Policy
from mcuq_lab.quantize import calibrate, initial_state, to_integers
from mcuq_lab.quantize.fake import FakeQuantized
from mcuq_lab.quantize.reference import compute, run_reference
from tests.quantize.graphs import GRAPHS, bottleneck_graph, images, residual_graph

POLICIES = ("w8a8", "w4a4", "w3a5", "w2a2")


def stored_values(values: torch.Tensor, tensor) -> np.ndarray:
    """Integers (N, h, w, c) that real values of a quantized tensor stand for."""
    u = values.permute(0, 2, 3, 1).double().numpy() / tensor.scale + tensor.zero_point
    assert np.abs(u - np.rint(u)).max() < 1e-3
    return np.rint(u).astype(np.uint8)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", GRAPHS)
def test_every_boundary_agrees_to_one_step(name, policy):
    graph, pictures = GRAPHS[name](), images(64)
    tables = calibrate(graph, images(64, seed=1))
    state = initial_state(graph, Policy.parse(policy, len(graph.layers)), tables)
    integers = to_integers(graph, state)
    with torch.no_grad():
        real = FakeQuantized(graph, state).tensors(torch.from_numpy(pictures))
    u = {name: stored_values(real[name], tensor) for name, tensor in integers.tensors.items()}
    off = []
    for op in integers.ops:
        sources = tuple(integers.tensors[name] for name in op.inputs)
        y = compute(op, sources, tuple(u[name] for name in op.inputs))
        difference = np.abs(y.astype(int) - u[op.output])
        assert difference.max() <= 1, op.name
        off.append((difference > 0).mean())
    # A step of difference happens only where the real value lies between two steps.
    assert np.mean(off) < 0.01


def test_both_networks_choose_the_same_class():
    graph, pictures = residual_graph(), images(400)
    state = initial_state(graph, Policy.uniform(7, 8, 8), calibrate(graph, pictures[:64]))
    integers = to_integers(graph, state)
    with torch.no_grad():
        expected = FakeQuantized(graph, state)(torch.from_numpy(pictures)).argmax(1).numpy()
    chosen = run_reference(integers, pictures).reshape(400, -1).argmax(1)
    assert (chosen == expected).mean() > 0.98


def test_eight_bit_inputs_are_the_pixels():
    graph = residual_graph()
    state = initial_state(graph, Policy.uniform(7, 8, 8), calibrate(graph, images()))
    tensor = to_integers(graph, state).input
    assert (tensor.bits, tensor.scale, tensor.zero_point) == (8, 1 / 255, 0)


@pytest.fixture
def network() -> FakeQuantized:
    graph = bottleneck_graph()
    tables = calibrate(graph, images(64))
    return FakeQuantized(graph, initial_state(graph, Policy.uniform(6, 4, 4), tables))


def test_gradients_are_those_of_the_definition(network):
    """Against the same formulas in plain torch operators with detached rounding."""
    x = torch.randn(4, 5, 3, 3).contiguous(memory_format=torch.channels_last)
    from mcuq_lab.quantize.fake import _QuantizeActivation, _QuantizeWeight

    def straight_through(v, low, high):
        clipped = v.clamp(low, high)
        return clipped + (clipped.round() - clipped).detach()

    for zero, qmax in ((0, 15), (6, 15), (1, 3)):
        results = []
        for quantizer in (
            lambda a, b, z=zero, q=qmax: _QuantizeActivation.apply(a, b, z, q),
            lambda a, b, z=zero, q=qmax: straight_through(a / b.exp(), -z, q - z) * b.exp(),
        ):
            a, b = x.clone().requires_grad_(), torch.tensor(-1.7, requires_grad=True)
            y = quantizer(a, b)
            (y * torch.arange(y.numel()).reshape(y.shape)).sum().backward()
            results.append((y.detach(), a.grad, b.grad))
        for ours, expected in zip(*results, strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-3)

    results = []
    for quantizer in (
        lambda a, b: _QuantizeWeight.apply(a, b, -4, 3),
        lambda a, b: (
            straight_through(a / b.exp()[:, None, None, None], -4, 3) * b.exp()[:, None, None, None]
        ),
    ):
        a, b = x.clone().requires_grad_(), torch.linspace(-2, 0, 4, requires_grad=True)
        y = quantizer(a, b)
        (y * torch.arange(y.numel()).reshape(y.shape)).sum().backward()
        results.append((y.detach(), a.grad, b.grad))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-3)


def test_all_but_the_input_step_are_trained(network):
    network(torch.from_numpy(images(8))).square().sum().backward()
    without = [n for n, p in network.named_parameters() if p.grad is None]
    assert len(without) == 1
    assert without[0].startswith("log_step")
    assert all(p.grad.abs().sum() > 0 for p in network.log_weight_step)


def test_steps_behind_relu6_stay_within_six(network):
    for step in network.log_step:
        step.data += 3.0
    network.project()
    graph, state = network.graph, network.state()
    integers = to_integers(graph, state)
    for name in ("expand", "depthwise", "head"):
        tensor = integers.tensors[name]
        assert tensor.scale * tensor.qmax <= 6.0
        assert tensor.scale * tensor.qmax > 5.99


def test_a_state_survives_the_way_through_the_network(network):
    before, after = network._state, network.state()
    for name in before.weights:
        np.testing.assert_array_equal(after.weights[name], before.weights[name])
        np.testing.assert_allclose(after.weight_scales[name], before.weight_scales[name], 1e-6)
    for name, affine in before.maps.items():
        assert after.maps[name].zero_point == affine.zero_point
        assert after.maps[name].scale == pytest.approx(affine.scale, rel=1e-6)
