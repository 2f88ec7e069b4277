"""From uint8 images to the stored values of a network's input."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mcuq_lab.errors import ConfigError
from mcuq_lab.graph import Input
from mcuq_lab.quantgraph import QTensor
from mcuq_lab.quantize.state import AffineMap


def input_map(node: Input, bits: int) -> AffineMap:
    """The input's affine map: its whole range [low, high], zero exactly representable.

    For low = 0, high = 1 and 8 bits the stored value is the raw pixel.
    """
    qmax = (1 << bits) - 1
    low, high = min(node.low, 0.0), max(node.high, 0.0)
    scale = (high - low) / qmax
    return AffineMap(bits, scale, round(-low / scale))


def input_table(
    affine: AffineMap | QTensor, low: float = 0.0, high: float = 1.0
) -> npt.NDArray[np.uint8]:
    """Stored value of each of the 256 pixel values; pixel p stands for low + p/255 (high - low)."""
    real = low + np.arange(256) * ((high - low) / 255)
    # The small term keeps real / scale on the pixel itself where the division falls just short.
    levels = np.floor(real / affine.scale + affine.zero_point + 0.5 + 1e-9)
    return levels.clip(0, affine.qmax).astype(np.uint8)


def quantize_input(
    images: npt.NDArray[np.uint8], tensor: QTensor, low: float = 0.0, high: float = 1.0
) -> npt.NDArray[np.uint8]:
    """Stored input values, uint8 (N, h, w, c), of uint8 NHWC images.

    `low` and `high` are those of the float network's `Input`.

    Raises:
        ConfigError: the images are not uint8.
    """
    if images.dtype != np.uint8:
        raise ConfigError(f"Images are {images.dtype}; give uint8 pixels (N, h, w, c).")
    return input_table(tensor, low, high)[images]
