"""What the kernels of fully connected layers share on the Python side: the layer in C."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mcuq_lab.liteengine.ctext import c_array, c_identifier, c_requantize, c_struct
from mcuq_lab.liteengine.kernels.columns import padded_constants
from mcuq_lab.liteengine.kernels.specialise import kernel_header, prototype_header, tile_function
from mcuq_lab.liteengine.lowering import Lowered
from mcuq_lab.quantgraph import QFullyConnected, Requantize
from mcuq_lab.sources import SourceFile

HEADERS = ("le_fullyconnected.h",)
PARAMETERS = "const le_fullyconnected_layer *layer, const uint8_t *in, uint8_t *out"
_LAYER_BYTES = 20


def fullyconnected_way(
    op: QFullyConnected,
    kernel: str,
    files: tuple[SourceFile, ...],
    packing: str,
    weights: Callable[[], np.ndarray],
    tile_bytes: int,
    channels: int,
    predicted_cycles: int,
    inputs: int | None = None,
) -> Lowered:
    """A way with tiles of `channels`, each with `tile_bytes` of the `weights`.

    `inputs` are those that count, all of the layer or more.
    """
    oc, ic = op.weight.shape
    name = c_identifier(op.name)
    fields = {
        "in_c": ic if inputs is None else inputs,
        "out_c": oc,
        "tile_bytes": tile_bytes,
        "weights": f"{name}_weights",
        "channels": f"{name}_channels",
    }
    constants = padded_constants(op.requantize, -oc % channels)

    def declarations() -> str:
        return (
            c_array("uint8_t", f"{name}_weights", weights())
            + c_requantize(f"{name}_channels", constants)
            + c_struct("le_fullyconnected_layer", f"{name}_layer", fields)
        )

    return Lowered(
        kernel=kernel,
        packing=packing,
        files=files,
        declarations=declarations,
        call=f"{kernel}(&{name}_layer, {{in0}}, {{out}});",
        weights_bytes=-(-oc // channels) * tile_bytes + 12 * len(constants.start) + _LAYER_BYTES,
        predicted_cycles=predicted_cycles,
    )


def padded_weights(weight: np.ndarray, channels: int, inputs: int) -> np.ndarray:
    """Weights (oc, ic) with rows and columns of zeros up to whole tiles: int64."""
    missing = ((0, -weight.shape[0] % channels), (0, -weight.shape[1] % inputs))
    return np.pad(weight.astype(np.int64), missing)


def requantize_suffix(requantize: Requantize) -> str:
    """Part of a kernel's name."""
    return f"o{requantize.bits}p{requantize.pre_shift}h{requantize.shift}"


def requantize_arguments(requantize: Requantize) -> str:
    """Arguments of a kernel's inline function."""
    return f"{requantize.pre_shift}, {requantize.shift}, {requantize.bits}"


def assembled(
    kernel: str, generator: str, lines: Sequence[str], twin: str, headers: Sequence[str]
) -> tuple[SourceFile, ...]:
    """Files of a kernel that is assembly as a whole; arguments as of `tile_function`."""
    function = tile_function(
        kernel, "le_fullyconnected", generator, lines, twin, PARAMETERS.split(", ")
    )
    return (
        *(kernel_header(header) for header in headers),
        prototype_header(kernel, headers[-1], f"LE_INTERNAL void {kernel}({PARAMETERS})"),
        SourceFile(f"{kernel}.c", f'#include "{kernel}.h"\n\n{function}'),
    )
