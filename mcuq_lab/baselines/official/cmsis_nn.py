"""C for a network on ARM's own CMSIS-NN: constants, and one call of its public API a layer.

Written from the documentation in the library's `Include/arm_nnfunctions.h` (7.0.0): the wrappers,
which choose the kernel themselves, and what their tensors, parameters and buffers must be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from mcuq_lab.baselines.c_text import (
    array,
    identifier,
    info_without_weights,
    model_header,
    model_source,
)
from mcuq_lab.baselines.cmsis_nn.layout import stored_weights
from mcuq_lab.baselines.cmsis_nn.tflite import ADD_LEFT_SHIFT, QMAX, QMIN, Int8Network, to_tflite
from mcuq_lab.baselines.nearest_forms import at_width
from mcuq_lab.baselines.official.library import (
    Library,
    freestanding_headers,
    release_of,
    revision_of,
)
from mcuq_lab.baselines.tensor_arena import TensorArena, plan_network, scratch_name
from mcuq_lab.errors import ConfigError
from mcuq_lab.graph import Window
from mcuq_lab.quantgraph import (
    QAdd,
    QAveragePool,
    QConcat,
    QDepthwiseConv2d,
    QFullyConnected,
    QMaxPool,
    QOp,
    QuantGraph,
    QWeighted,
)
from mcuq_lab.sources import LayerInfo, SourceFile, Sources

ENGINE_NAME = "cmsis_nn_official"
NAME = "CMSIS-NN"
PACK = ("ARM", "CMSIS-NN")
"""Vendor and name of its CMSIS pack."""

FOLDERS = ("Include", "Source")
DESCRIPTION = "ARM.CMSIS-NN.pdsc"
OLDEST = 7
"""First major version with fully connected layers of one scale for each output."""

_FUNCTIONS = "Include/arm_nnfunctions.h"
_TYPES = "Include/arm_nn_types.h"

_DIMS, _DATA = "const cmsis_nn_dims *", "const int8_t *"
_LAYER_TYPES = f"{_DIMS}, {_DATA}, {_DIMS}, {_DATA}, {_DIMS}, const int32_t *, {_DIMS}, int8_t *"
_PER_CHANNEL = "const cmsis_nn_per_channel_quant_params *"
_POOL = f"const cmsis_nn_context *, const cmsis_nn_pool_params *, {_DIMS}, {_DATA}, {_DIMS}, "
_POOL += f"{_DIMS}, int8_t *"
_THREE = "const int32_t, const int32_t, const int32_t"
_U16 = "const uint16_t"

CALLED = {
    "arm_convolve_wrapper_s8": (
        f"const cmsis_nn_context *, const cmsis_nn_conv_params *, {_PER_CHANNEL}, {_LAYER_TYPES}"
    ),
    "arm_depthwise_conv_wrapper_s8": (
        f"const cmsis_nn_context *, const cmsis_nn_dw_conv_params *, {_PER_CHANNEL}, {_LAYER_TYPES}"
    ),
    "arm_fully_connected_wrapper_s8": (
        "const cmsis_nn_context *, const cmsis_nn_fc_params *, const cmsis_nn_quant_params *, "
        f"{_LAYER_TYPES}"
    ),
    "arm_elementwise_add_s8": (
        f"{_DATA}, {_DATA}, {_THREE}, {_THREE}, const int32_t, int8_t *, {_THREE}, "
        "const int32_t, const int32_t, const int32_t"
    ),
    "arm_avgpool_s8": _POOL,
    "arm_max_pool_s8": _POOL,
    "arm_concatenation_s8_x": (
        f"{_DATA}, {_U16}, {_U16}, {_U16}, {_U16}, int8_t *, {_U16}, const uint32_t"
    ),
    "arm_reshape_s8": f"{_DATA}, int8_t *, const uint32_t",
    "arm_convolve_wrapper_s8_get_buffer_size_dsp": (
        f"const cmsis_nn_conv_params *, {_DIMS}, {_DIMS}, {_DIMS}"
    ),
    "arm_depthwise_conv_wrapper_s8_get_buffer_size_dsp": (
        f"const cmsis_nn_dw_conv_params *, {_DIMS}, {_DIMS}, {_DIMS}"
    ),
    "arm_fully_connected_s8_get_buffer_size_dsp": _DIMS,
    "arm_avgpool_s8_get_buffer_size_dsp": "const int, const int",
}
"""The part of the API that this adapter calls, with the types of its parameters."""

CALLED_AT_4_BITS = {
    name.replace("_s8", "_s4"): types
    for name, types in CALLED.items()
    if name.startswith(("arm_convolve_wrapper", "arm_depthwise_conv_wrapper"))
}
"""What a network with 4-bit weights needs besides."""

_STRUCTURES = {
    "cmsis_nn_tile": "w h",
    "cmsis_nn_context": "buf size",
    "cmsis_nn_dims": "n h w c",
    "cmsis_nn_activation": "min max",
    "cmsis_nn_per_channel_quant_params": "multiplier shift",
    "cmsis_nn_quant_params": "multiplier shift is_per_channel",
    "cmsis_nn_conv_params": "input_offset output_offset stride padding dilation activation",
    "cmsis_nn_dw_conv_params": (
        "input_offset output_offset ch_mult stride padding dilation activation"
    ),
    "cmsis_nn_fc_params": "input_offset filter_offset output_offset activation",
    "cmsis_nn_pool_params": "stride padding activation",
}

_HEAD = """#include "arm_nnfunctions.h"

/* A refused call must not be measured. */
static inline void expect_success(arm_cmsis_nn_status status)
{
    if (status != ARM_CMSIS_NN_SUCCESS)
        __builtin_trap();
}"""


def version_of(library: Library) -> str:
    """The library's version, `7.0.0`; for a copy between releases, its header's revision.

    Raises:
        ConfigError: it is too old, or has another layout or API than this adapter calls.
    """
    version = release_of(library, DESCRIPTION)
    library.text(_FUNCTIONS)
    if version and int(version.split(".")[0]) < OLDEST:
        raise ConfigError(
            f"{NAME} in {library.place} is version {version}, by its {DESCRIPTION}; MCUQ calls "
            f"the API of {OLDEST}.0.0 and later. Get a newer one."
        )
    library.check_functions(_FUNCTIONS, CALLED)
    library.check_structures(_TYPES, _STRUCTURES)
    return version or f"after header revision {revision_of(library.text(_FUNCTIONS)) or 'unknown'}"


def generate(
    graph: QuantGraph, library: Library, run: Callable[[tuple[SourceFile, ...]], str]
) -> Sources:
    """Sources of a network of 8-bit activations on the library, its weights of 8 or 4 bits.

    Fully connected layers of 4-bit weights are 1x1 convolutions of one pixel: the library's own
    function for them has one scale for all outputs.

    Args:
        graph: the network.
        library: where the user has it.
        run: compiles C files for this computer and gives what their main() prints. The library's
            own functions say there how large its buffers are on a core with DSP instructions.

    Raises:
        ModelError: another width, or an operator without a kernel.
        NumericsError: a scale that the format cannot hold.
        ConfigError: the library is not as this adapter needs it.
    """
    version = version_of(library)
    network = to_tflite(graph)
    if any(layer.weight_bits == 4 for layer in network.layers.values()):
        library.check_functions(_FUNCTIONS, CALLED_AT_4_BITS)
    calls = [_call(network, op) for op in graph.ops]
    scratch_bytes = _buffer_bytes(library, calls, run)
    arena = plan_network(graph, scratch_bytes)
    title = f"{graph.name} on {NAME} {version}: int8, one call of its public API a layer."
    layers = [(call.declarations, call.body(arena, scratch_bytes)) for call in calls]
    functions = {call.function for call in calls}
    note = library.note(version, [call.info for call in calls], functions)
    if form := at_width(graph, QFullyConnected, 4, "as a 1x1 convolution"):
        note += f"; {form}"
    system = ("-isystem", f"{library.key}/Include", "-idirafter", f"{library.key}/freestanding")
    return Sources(
        engine=ENGINE_NAME,
        model=graph.name,
        policy=str(graph.policy),
        files=(
            SourceFile("model.c", model_source(title, _HEAD, layers), system),
            SourceFile("model.h", model_header(graph, arena, title)),
            *freestanding_headers(f"{library.key}/freestanding", "c"),
            *library.sources_for(functions, system),
        ),
        layers=tuple(
            replace(call.info, scratch_bytes=scratch_bytes.get(call.op.name, 0)) for call in calls
        ),
        arena_bytes=arena.total_bytes,
        scratch_bytes=max(scratch_bytes.values(), default=0),
        signed_io=True,
        note=note,
    )


@dataclass(frozen=True)
class _Call:
    """One operator on the library.

    Attributes:
        op: the operator.
        function: what is called.
        arrays: its constants, as C.
        parameters: the structures that its buffer's size depends on, as C.
        statements: the calls; @name@ is the address of a tensor.
        buffer: a C expression of the buffer's size in bytes; "" if the function takes none.
        info: what a profile says of it.
    """

    op: QOp
    function: str
    arrays: str
    parameters: str
    statements: tuple[str, ...]
    buffer: str
    info: LayerInfo

    @property
    def declarations(self) -> str:
        return "\n".join(text for text in (self.arrays, self.parameters) if text)

    def body(self, arena: TensorArena, scratch_bytes: Mapping[str, int]) -> str:
        """The statements of its function, addresses filled in."""
        lines = []
        if any("&context" in statement for statement in self.statements):
            size = scratch_bytes.get(self.op.name, 0)
            buf = f"mcuq_arena + {arena.offsets[scratch_name(self.op)]}" if size else "0"
            lines.append(
                f"static const cmsis_nn_context context = {{ .buf = {buf}, .size = {size} }};"
            )
        for statement in self.statements:
            for name in (*self.op.inputs, self.op.output):
                address = f"(int8_t *)(mcuq_arena + {arena.offsets[name]})"
                statement = statement.replace(f"@{name}@", address)
            lines.append(statement)
        return "\n    ".join(lines)


def _buffer_bytes(
    library: Library, calls: list[_Call], run: Callable[[tuple[SourceFile, ...]], str]
) -> dict[str, int]:
    """Bytes of each layer's buffer, by the library's own functions, run on this computer."""
    asking = [call for call in calls if call.buffer]
    if not asking:
        return {}
    functions = {call.buffer.split("(")[0] for call in asking}
    structures = "\n".join(call.parameters for call in asking)
    lines = "\n".join(f'    printf("%ld\\n", (long){call.buffer});' for call in asking)
    main = (
        f'#include <stdio.h>\n#include "arm_nnfunctions.h"\n{structures}\n'
        f"int main(void)\n{{\n{lines}\n    return 0;\n}}\n"
    )
    files = (SourceFile("buffer_sizes.c", main, ("-w",)), *library.sources_for(functions))
    sizes = run(files).split()
    return {
        call.op.name: int(size) for call, size in zip(asking, sizes, strict=True) if int(size) > 0
    }


def _call(network: Int8Network, op: QOp) -> _Call:
    for kind, make in _MAKERS:
        if isinstance(op, kind):
            return make(network, op)
    size = network.tensors[op.output].shape.size
    statement = f"arm_reshape_s8(@{op.inputs[0]}@, @{op.output}@, {size});"
    return _Call(
        op, "arm_reshape_s8", "", "", (statement,), "", info_without_weights(op, "arm_reshape_s8")
    )


def _weighted(network: Int8Network, op: QWeighted) -> _Call:
    source, out = network.tensors[op.inputs[0]], network.tensors[op.output]
    layer, name, s, o = network.layers[op.name], identifier(op), source.shape, out.shape
    kind, function, window, extra = "conv", "arm_convolve_wrapper_s8", Window(1, 1), ""
    fully_connected = isinstance(op, QFullyConnected) and layer.weight_bits == 8
    if not isinstance(op, QFullyConnected):
        window = op.window
    if not fully_connected:
        extra = f"""
    .stride = {{ .w = {window.stride_w}, .h = {window.stride_h} }},
    .padding = {{ .w = {window.pad_left}, .h = {window.pad_top} }},
    .dilation = {{ .w = 1, .h = 1 }},"""
    in_dims, filter_dims = (
        _dims(1, s.h, s.w, s.c),
        _dims(o.c, window.kernel_h, window.kernel_w, s.c),
    )
    scaling = "cmsis_nn_per_channel_quant_params"
    buffer = f"{function}_get_buffer_size_dsp(&{name}, &{name}_in, &{name}_filter, &{name}_out)"
    if isinstance(op, QDepthwiseConv2d):
        kind, function = "dw_conv", "arm_depthwise_conv_wrapper_s8"
        extra += "\n    .ch_mult = 1,"
        filter_dims = _dims(1, window.kernel_h, window.kernel_w, o.c)
        buffer = buffer.replace("arm_convolve_wrapper", "arm_depthwise_conv_wrapper")
    elif fully_connected:
        kind, function, scaling = "fc", "arm_fully_connected_wrapper_s8", "cmsis_nn_quant_params"
        extra, in_dims = "\n    .filter_offset = 0,", _dims(1, 1, 1, s.size)
        filter_dims = _dims(s.size, 1, 1, o.c)
        buffer = f"arm_fully_connected_s8_get_buffer_size_dsp(&{name}_filter)"
    if layer.weight_bits == 4:
        function, buffer = function.replace("_s8", "_s4"), buffer.replace("_s8", "_s4")
    weight = stored_weights(layer)
    arrays = "\n".join(
        (
            array("int8_t", f"{name}_weight", weight),
            array("int32_t", f"{name}_bias", layer.bias),
            array("int32_t", f"{name}_multiplier", layer.multiplier),
            array("int32_t", f"{name}_shift", layer.shift),
            # The API's structure holds pointers to what it only reads.
            f"static const {scaling} {name}_scaling = {{\n"
            f"    .multiplier = (int32_t *){name}_multiplier, .shift = (int32_t *){name}_shift,"
            + (" .is_per_channel = 1," if scaling == "cmsis_nn_quant_params" else "")
            + "\n};",
            f"static const cmsis_nn_dims {name}_bias_dims = {_dims(1, 1, 1, o.c)};",
        )
    )
    parameters = f"""static const cmsis_nn_{kind}_params {name} = {{
    .input_offset = {-source.zero_point}, .output_offset = {out.zero_point},{extra}
    .activation = {{ .min = {QMIN}, .max = {QMAX} }},
}};
static const cmsis_nn_dims {name}_in = {in_dims};
static const cmsis_nn_dims {name}_filter = {filter_dims};
static const cmsis_nn_dims {name}_out = {_dims(1, o.h, o.w, o.c)};"""
    statement = (
        f"expect_success({function}(&context, &{name}, &{name}_scaling, &{name}_in, "
        f"@{op.inputs[0]}@, &{name}_filter, {name}_weight, &{name}_bias_dims, {name}_bias, "
        f"&{name}_out, @{op.output}@));"
    )
    info = replace(
        info_without_weights(op, function),
        policy=f"w{layer.weight_bits}a8",
        macs=network.graph.macs(op),
        weights_bytes=weight.size + 12 * len(layer.bias),
    )
    return _Call(op, function, arrays, parameters, (statement,), buffer, info)


def _add(network: Int8Network, op: QAdd) -> _Call:
    a, b, out = (network.tensors[name] for name in (*op.inputs, op.output))
    c, function = network.additions[op.name], "arm_elementwise_add_s8"
    statement = (
        f"expect_success({function}(@{op.inputs[0]}@, @{op.inputs[1]}@, "
        f"{-a.zero_point}, {c.a.multiplier}, {c.a.shift}, "
        f"{-b.zero_point}, {c.b.multiplier}, {c.b.shift}, {ADD_LEFT_SHIFT}, @{op.output}@, "
        f"{out.zero_point}, {c.out.multiplier}, {c.out.shift}, {QMIN}, {QMAX}, {out.shape.size}));"
    )
    return _Call(op, function, "", "", (statement,), "", info_without_weights(op, function))


def _pool(network: Int8Network, op: QAveragePool | QMaxPool) -> _Call:
    s, o = network.tensors[op.inputs[0]].shape, network.tensors[op.output].shape
    name, window = identifier(op), op.window
    function = "arm_max_pool_s8" if isinstance(op, QMaxPool) else "arm_avgpool_s8"
    parameters = f"""static const cmsis_nn_pool_params {name} = {{
    .stride = {{ .w = {window.stride_w}, .h = {window.stride_h} }},
    .activation = {{ .min = {QMIN}, .max = {QMAX} }},
}};
static const cmsis_nn_dims {name}_in = {_dims(1, s.h, s.w, s.c)};
static const cmsis_nn_dims {name}_filter = {_dims(1, window.kernel_h, window.kernel_w, 1)};
static const cmsis_nn_dims {name}_out = {_dims(1, o.h, o.w, o.c)};"""
    buffer = ""
    if isinstance(op, QAveragePool):
        buffer = f"arm_avgpool_s8_get_buffer_size_dsp({o.w}, {s.c})"
    statement = (
        f"expect_success({function}(&context, &{name}, &{name}_in, @{op.inputs[0]}@, "
        f"&{name}_filter, &{name}_out, @{op.output}@));"
    )
    return _Call(
        op, function, "", parameters, (statement,), buffer, info_without_weights(op, function)
    )


def _concat(network: Int8Network, op: QConcat) -> _Call:
    """Along channels: the innermost dimension, which the library calls x."""
    o, function = network.tensors[op.output].shape, "arm_concatenation_s8_x"
    statements, first = [], 0
    for source in op.inputs:
        c = network.tensors[source].shape.c
        statements.append(
            f"{function}(@{source}@, {c}, {o.w}, {o.h}, 1, @{op.output}@, {o.c}, {first});"
        )
        first += c
    return _Call(op, function, "", "", tuple(statements), "", info_without_weights(op, function))


_MAKERS: tuple[tuple[type, Callable[..., _Call]], ...] = (
    (QWeighted, _weighted),
    (QAdd, _add),
    (QAveragePool, _pool),
    (QMaxPool, _pool),
    (QConcat, _concat),
)


def _dims(n: int, h: int, w: int, c: int) -> str:
    return f"{{ .n = {n}, .h = {h}, .w = {w}, .c = {c} }}"
