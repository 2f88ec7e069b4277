"""Single layers by name, for benchmarks: `c3_32x16_16` is a quantized network of one convolution.

    c<kernel>[s<stride>]_<input size>x<input channels>_<output channels>     convolution
    dw[<kernel>][s<stride>]_<input size>x<channels>                          depthwise, kernel 3
    fc_<inputs>_<outputs>                                                    fully connected

Padding is kernel // 2, so that stride 1 keeps the size; the output, behind a ReLU, is as wide as
the input. Weights are normal with mean |w| near a third of the largest one, as in trained networks
(in the stored ResNet-8 a layer's heaviest channel has 0.25 to 0.5): how large sums get decides how
many operands a register can hold.
"""

from __future__ import annotations

import re
import zlib

import numpy as np

from mcuq_lab.errors import ConfigError
from mcuq_lab.graph import Shape, Window
from mcuq_lab.policy import LayerBits, Policy
from mcuq_lab.quantgraph import QConv2d, QDepthwiseConv2d, QFullyConnected, QTensor, QuantGraph
from mcuq_lab.quantize.requantize import requantize_weighted

_RANGE_IN_DEVIATIONS = 2.5

_CONVOLUTION = re.compile(r"c(\d+)(?:s(\d+))?_(\d+)x(\d+)_(\d+)")
_DEPTHWISE = re.compile(r"dw(\d*)(?:s(\d+))?_(\d+)x(\d+)")
_FULLY_CONNECTED = re.compile(r"fc_(\d+)_(\d+)")


def layer_network(name: str, bits: LayerBits, seed: int = 0) -> QuantGraph:
    """A network of the one layer that `name` describes.

    Args:
        name: by the grammar above.
        bits: widths of the weights and of the input; the output is as wide as the input.
        seed: of the weights, which depend on name and widths besides.

    Raises:
        ConfigError: the name does not follow the grammar, or the window does not fit its input.
    """
    rng = np.random.default_rng([seed, bits.w_bits, bits.a_bits, zlib.crc32(name.encode())])
    kind, window, shape, weight_shape = _read(name)
    half = 1 << (bits.w_bits - 1)
    drawn = np.rint(rng.normal(0.0, half / _RANGE_IN_DEVIATIONS, weight_shape))
    weight = drawn.clip(-half, half - 1).astype(np.int8)
    oc = weight_shape[0]
    out_h, out_w = window.output(shape.h, shape.w)
    if out_h < 1 or out_w < 1:
        raise ConfigError(f"Layer '{name}': its window {window} is larger than its {shape} input.")

    qmax = (1 << bits.a_bits) - 1
    source = QTensor("input", shape, bits.a_bits, 1.0 / qmax, 0)
    weight_scale = rng.uniform(0.5, 1.5, oc) / half
    spread = np.sqrt(weight[0].size / 12.0)
    output = QTensor("output", Shape(out_h, out_w, oc), bits.a_bits, 2.0 * spread / qmax, 0)
    mean = 0.5 * weight_scale * weight.reshape(oc, -1).sum(1)
    bias = 0.8 * spread - mean  # centres the outputs, so that few of them saturate
    constants = requantize_weighted(name, weight, weight_scale, bias, source, output)
    layer = (name, ("input",), "output", weight, bits.w_bits, weight_scale, bias, constants)
    op = kind(*layer) if kind is QFullyConnected else kind(*layer, window)
    return QuantGraph(
        name=name,
        policy=Policy((bits,)),
        tensors={"input": source, "output": output},
        ops=(op,),
        input_name="input",
        output_name="output",
    )


def _read(name: str) -> tuple[type, Window, Shape, tuple[int, ...]]:
    """Kind of layer, window, input shape and weight shape."""
    if match := _CONVOLUTION.fullmatch(name):
        kernel, stride, size, ic, oc = (int(group or 1) for group in match.groups())
        window = Window.square(kernel, stride, kernel // 2)
        found = (QConv2d, window, Shape(size, size, ic), (oc, kernel, kernel, ic))
    elif match := _DEPTHWISE.fullmatch(name):
        kernel, stride = int(match[1] or 3), int(match[2] or 1)
        size, c = int(match[3]), int(match[4])
        window = Window.square(kernel, stride, kernel // 2)
        found = (QDepthwiseConv2d, window, Shape(size, size, c), (c, kernel, kernel, 1))
    elif match := _FULLY_CONNECTED.fullmatch(name):
        ic, oc = int(match[1]), int(match[2])
        found = (QFullyConnected, Window(1, 1), Shape(1, 1, ic), (oc, ic))
    else:
        raise ConfigError(
            f"'{name}' is no layer; write for example c3_32x16_16, c3s2_32x16_32, c1_12x64_128, "
            "dw_24x32, fc_64_10 (kernel and stride, input size x channels, output channels)."
        )
    if 0 in found[3] or found[1].stride_h < 1 or found[2].size < 1:
        raise ConfigError(f"Layer '{name}' has a size, stride or channel count of 0.")
    return found
