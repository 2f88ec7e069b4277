"""The fast executor against the reference, bit for bit."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mcuq_lab.errors import ConfigError, NumericsError
from mcuq_lab.graph import Shape, Window
from mcuq_lab.policy import Policy
from mcuq_lab.quantgraph import QConv2d
from mcuq_lab.quantize import byte_convolution as byte_convolution_module
from mcuq_lab.quantize import (
    calibrate,
    evaluate,
    executor,
    quantize,
    quantize_input,
    run_integers,
)
from mcuq_lab.quantize.byte_convolution import (
    byte_convolution,
    exact_as_bytes,
    exact_bytes,
    exact_pairs,
)
from mcuq_lab.quantize.compiled import requantize_rows
from mcuq_lab.quantize.executor import predict
from mcuq_lab.quantize.random_graphs import random_graph, random_inputs, single_layer
from mcuq_lab.quantize.reference import run_reference
from tests.quantize.graphs import GRAPHS, images, residual_graph


@pytest.fixture(params=["bytes", "floats"])
def sums(request, monkeypatch):
    """Both ways to sum a convolution, wherever the processor has both."""
    if request.param == "floats":
        monkeypatch.setattr(executor, "exact_as_bytes", lambda weight, amax: False)
    elif not exact_pairs():
        pytest.skip("this processor has no exact int8 convolutions")


@pytest.mark.usefixtures("sums")
@pytest.mark.parametrize("seed", range(120))
def test_random_networks_are_exact(seed):
    graph = random_graph(seed, max_ops=8)
    inputs = random_inputs(graph, 5, seed)
    np.testing.assert_array_equal(run_integers(graph, inputs, 3), run_reference(graph, inputs))


@pytest.mark.parametrize("weights", ["lowest", "highest", "ends"])
def test_sums_beyond_float32_are_exact(weights):
    graph = single_layer(
        QConv2d, Shape(4, 4, 256), 3, Window.square(3, 1, 1), weights=weights, zero_point=200
    )
    inputs = random_inputs(graph, 8)
    np.testing.assert_array_equal(run_integers(graph, inputs), run_reference(graph, inputs))


@pytest.mark.skipif(not exact_pairs(), reason="no exact int8 convolutions on this processor")
@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("zero_point", [0, 90])
@pytest.mark.parametrize(
    "window",
    [
        Window(1, 1), Window(1, 1, 2, 2), Window.square(3, 1, 1), Window(3, 3, 2, 2, 0, 1, 0, 1),
        Window(5, 2, 1, 3, 4, 0, 1, 2), Window.square(7, 2, 3),
    ],
)  # fmt: skip
@pytest.mark.parametrize(("amax", "largest"), [(255, 128), (255, 64), (127, 128), (15, 128)])
def test_sums_of_bytes_are_exact(window, depthwise, zero_point, amax, largest):
    if amax * largest * 2 > 32767 and not exact_bytes():
        pytest.skip("on this processor two such products saturate")
    rng = np.random.default_rng(window.kernel_h)
    for channels in (1, 3, 16, 33):
        x = torch.from_numpy(rng.integers(0, amax + 1, (2, 9, 8, channels), np.uint8))
        x = x.permute(0, 3, 1, 2)
        shape = (21, channels, window.kernel_h, window.kernel_w)
        shape = (channels, 1, *shape[2:]) if depthwise else shape
        highest = min(largest, 127)
        weight = torch.from_numpy(rng.integers(-largest, highest + 1, shape, np.int8))
        x[0], weight[0] = amax, -largest
        if amax * highest * weight[-1].numel() < 1 << 24:
            weight[-1] = highest
        assert exact_as_bytes(weight.numpy(), amax)
        padding = (window.pad_left, window.pad_right, window.pad_top, window.pad_bottom)
        expected = F.conv2d(
            F.pad(x.double(), padding, value=zero_point), weight.double(),
            stride=(window.stride_h, window.stride_w), groups=channels if depthwise else 1,
        )  # fmt: skip
        # Prepared for as many maps as there are, and for more.
        for n in (2, 64):
            convolve = byte_convolution(weight, window, depthwise, (n, *x.shape[1:]), zero_point)
            assert torch.equal(convolve(x).double(), expected)


def test_bytes_are_refused_where_two_products_can_saturate(monkeypatch):
    monkeypatch.setattr(byte_convolution_module, "exact_bytes", lambda: False)
    monkeypatch.setattr(byte_convolution_module, "exact_pairs", lambda: True)
    for amax, weight, exact in (
        (255, 64, True), (255, -64, True), (255, 65, False), (255, -65, False), (255, -128, False),
        (127, -128, True), (127, 127, True), (128, -128, False), (128, 127, True), (3, -128, True),
    ):  # fmt: skip
        assert exact_as_bytes(np.array([[0, weight, 1]], np.int8), amax) == exact
    monkeypatch.setattr(byte_convolution_module, "exact_pairs", lambda: False)
    assert not exact_as_bytes(np.ones((1, 1), np.int8), 3)


@settings(deadline=None)  # the first call compiles
@given(
    seed=st.integers(0, 1 << 32),
    peak_bits=st.integers(0, 24),
    pre_shift=st.integers(0, 30),
    shift=st.integers(0, 31),
    bits=st.integers(2, 8),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 40)),
)
def test_requantization_is_that_of_the_specification(
    seed, peak_bits, pre_shift, shift, bits, shape
):
    rng = np.random.default_rng(seed)
    peak = min((1 << peak_bits) - 1, (1 << (31 - pre_shift)) - 1)
    start = rng.integers(0, peak + 1, shape[1])
    sums = rng.integers(0, peak + 1, shape) - start
    multiplier = rng.integers(0, 1 << 31, shape[1])
    largest = ((peak << pre_shift) * multiplier) >> 32
    offset = rng.integers(1 - (1 << 31), (1 << 31) - largest)
    qmax, out = (1 << bits) - 1, np.empty(shape, np.uint8)
    constants = (array.astype(np.int32) for array in (start, multiplier, offset))
    requantize_rows(
        sums.astype(np.float32), *constants, pre_shift, np.int32(shift), np.int32(qmax), out
    )
    scaled = (((sums + start) << pre_shift) * multiplier) >> 32
    np.testing.assert_array_equal(out, ((scaled + offset) >> shift).clip(0, qmax))


@pytest.mark.usefixtures("sums")
@pytest.mark.parametrize("name", GRAPHS)
def test_quantized_networks_are_exact(name):
    graph = GRAPHS[name]()
    tables = calibrate(graph, images(64))
    rng = np.random.default_rng(3)
    for _ in range(5):
        policy = Policy.of(rng.integers(2, 9, (len(graph.layers), 2)))
        integers = quantize(graph, policy, tables)
        inputs = quantize_input(images(40), integers.input, graph.input.low, graph.input.high)
        np.testing.assert_array_equal(
            run_integers(integers, inputs, 16), run_reference(integers, inputs)
        )


def test_predictions_are_the_outputs_in_real_units_and_score_them():
    graph, pictures = residual_graph(), images(50)
    integers = quantize(graph, Policy.uniform(7, 8, 8), calibrate(graph, pictures))
    stored = run_reference(integers, pictures).reshape(50, -1).astype(float)
    expected = (stored - integers.output.zero_point) * integers.output.scale
    np.testing.assert_allclose(predict(integers, pictures), expected, rtol=1e-6)
    labels = expected.argmax(1)
    assert evaluate(integers, pictures, labels) == 1.0
    labels[:10] = (labels[:10] + 1) % 4
    assert evaluate(integers, pictures, labels) == pytest.approx(0.8)


def test_no_images_give_no_outputs():
    graph = random_graph(1)
    shape = graph.output.shape
    assert run_integers(graph, random_inputs(graph, 0)).shape == (0, shape.h, shape.w, shape.c)


def test_inputs_are_checked():
    graph = residual_graph()
    integers = quantize(graph, Policy.uniform(7, 4, 4), calibrate(graph, images()))
    with pytest.raises(NumericsError, match=r"0\.\.15"):
        run_integers(integers, images())
    with pytest.raises(ConfigError, match="uint8"):
        quantize_input(images().astype(float), integers.input)


def test_pixels_are_rounded_to_the_nearest_input_value():
    graph = residual_graph()
    tables = calibrate(graph, images())
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 256, 1, 1)
    for bits in (2, 3, 5, 8):
        tensor = quantize(graph, Policy.uniform(7, 8, bits), tables).input
        stored = quantize_input(ramp, tensor).ravel()
        assert np.abs(stored * (255 / tensor.qmax) - np.arange(256)).max() <= 255 / tensor.qmax / 2
