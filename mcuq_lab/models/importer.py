"""A trained torch.nn.Module becomes a Graph: torch.export, then one pass over its operators.

Batch norm is folded into the convolution or linear layer before it, ReLU and ReLU6 are fused into
the node that yields their input, dropout and identities vanish. Tensors change from NCHW to NHWC,
weights from OIHW to OHWI; where a map larger than 1x1 is flattened, the columns of the linear layer
behind it are permuted from CHW to HWC order.
"""

import copy
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import fx, nn

from mcuq_lab.errors import ModelError
from mcuq_lab.graph import (
    Activation,
    Add,
    AveragePool,
    Concat,
    Conv2d,
    DepthwiseConv2d,
    Flatten,
    FullyConnected,
    GlobalAveragePool,
    Graph,
    Input,
    MaxPool,
    Node,
    Shape,
    WeightedNode,
    Window,
)

SUPPORTED = (
    "conv2d (groups 1, or depthwise), linear, batch norm directly after either, ReLU, ReLU6, "
    "Hardtanh(0, 6), add of two tensors, max and average pooling without padding, adaptive average "
    "pooling, mean over (2, 3), flatten or view to one dimension, concat over channels, dropout, "
    "identity"
)

_IDENTITIES = {
    "alias",
    "clone",
    "contiguous",
    "detach",
    "dropout",
    "dropout2d",
    "alpha_dropout",
    "feature_dropout",
    "lift_fresh_copy",
}
_RESHAPES = {"flatten", "view", "reshape", "squeeze", "unsqueeze", "_unsafe_view"}


def import_module(
    module: nn.Module,
    example_input_shape: tuple[int, int, int] = (3, 32, 32),
    name: str = "model",
) -> Graph:
    """The inference-mode network of `module` as a Graph of float32 operators.

    module: any module whose forward takes one NCHW float tensor and returns one tensor; it is
    copied, not changed. example_input_shape: (channels, height, width). Its input is taken to be
    pixel / 255, in [0, 1].
    Raises ModelError for what cannot be represented, with the operator, its place and what to do.
    """
    module = copy.deepcopy(module).to("cpu", torch.float32).eval()
    example = torch.zeros(1, *example_input_shape)
    try:
        with torch.no_grad():
            program = torch.export.export(module, (example,))
    except Exception as error:
        raise ModelError(
            f"torch.export cannot trace {type(module).__name__} on an input of shape "
            f"{tuple(example.shape)}: {error}. Try `torch.export.export(module.eval(), (x,))` "
            "yourself; control flow that depends on data must go"
        ) from error
    return _Importer(program, name).graph()


class _Importer:
    """The pass over the exported operators: `nodes` so far, and which node yields which value."""

    def __init__(self, program: torch.export.ExportedProgram, name: str) -> None:
        self.name = name
        self.operators = list(program.graph.nodes)
        self.parameters = _parameters(program)
        self.layer_paths = [
            _module_path(n) for n in self.operators if _operator_name(n) in ("conv2d", "linear")
        ]
        self.nodes: dict[str, Node] = {}
        self.shapes: dict[str, Shape] = {}
        # The name of the node that holds the value of an fx node.
        self.value: dict[fx.Node, str] = {}
        # Flatten nodes of maps larger than 1x1, whose order of elements differs from torch's.
        self.flattened: dict[str, Shape] = {}

    def graph(self) -> Graph:
        for operator in self.operators:
            if operator.op == "placeholder":
                self._placeholder(operator)
            elif operator.op == "call_function":
                self._call(operator)
            elif operator.op == "output":
                self._output(operator)
        return Graph(self.name, tuple(self.nodes.values()))

    def _placeholder(self, operator: fx.Node) -> None:
        if operator.name in self.parameters:
            return
        if self.nodes:
            raise ModelError(
                f"{self.name} takes more than one input ({operator.name}); only networks of one "
                "input are supported"
            )
        _, c, h, w = operator.meta["val"].shape
        self._put(operator, Input("input", (), Shape(h, w, c)))

    def _output(self, operator: fx.Node) -> None:
        outputs = operator.args[0]
        if len(outputs) != 1:
            raise ModelError(
                f"{self.name} returns {len(outputs)} tensors; wrap it so that it returns one"
            )
        last = self.value[outputs[0]]
        if last in self.flattened:
            raise ModelError(
                f"{self.name} returns a flattened map of {self.flattened[last]}, whose order would "
                "change with NHWC; return the map itself"
            )
        self._keep_ancestors(last)

    def _keep_ancestors(self, last: str) -> None:
        """Drop nodes that the output does not depend on (auxiliary heads), the output last."""
        wanted, waiting = set(), [last]
        while waiting:
            name = waiting.pop()
            if name not in wanted:
                wanted.add(name)
                waiting.extend(self.nodes[name].inputs)
        kept = {n: node for n, node in self.nodes.items() if n in wanted}
        kept[last] = kept.pop(last)
        self.nodes = kept

    def _call(self, operator: fx.Node) -> None:
        name = _operator_name(operator)
        handler = _HANDLERS.get(name)
        if handler is None:
            if name.startswith("_assert") or not operator.users:
                return
            raise self.refuse(operator, f"is not supported. Supported: {SUPPORTED}")
        try:
            handler(self, operator)
        except ModelError as error:
            if "at module" in str(error):
                raise
            raise self.refuse(operator, f"does not fit: {error}") from error
        self._follow_in_place(operator)

    def _follow_in_place(self, operator: fx.Node) -> None:
        # aten.relu_ and the like: whoever reads their input later sees the new value.
        if str(operator.target).split(".")[1].endswith("_"):
            old = self.value[operator.args[0]]
            for key, node_name in list(self.value.items()):
                if node_name == old:
                    self.value[key] = self.value[operator]

    def refuse(self, operator: fx.Node, why: str) -> ModelError:
        """A ModelError that names the operator, its module and its source line."""
        path = _module_path(operator) or "(top)"
        line = _source_line(operator)
        return ModelError(f"operator {operator.target} at module {path}{line} {why}")

    def read(self, operator: fx.Node, argument: object) -> str:
        """The name of the node that an argument refers to."""
        if not isinstance(argument, fx.Node) or argument not in self.value:
            raise self.refuse(
                operator,
                f"combines an activation with the constant {argument}; only operators between "
                "activations are supported (input scaling such as (x - mean) / std: let the first "
                "batch norm learn it, and train on pixel / 255)",
            )
        return self.value[argument]

    def constant(self, operator: fx.Node, argument: object) -> np.ndarray | None:
        """The float32 value of a parameter; None for an absent one."""
        if argument is None:
            return None
        if not isinstance(argument, fx.Node) or argument.name not in self.parameters:
            raise self.refuse(
                operator,
                f"has a weight or statistic that is computed ({argument}); remove the "
                "parametrisation first (torch.nn.utils.parametrize.remove_parametrizations)",
            )
        return self.parameters[argument.name].detach().float().numpy()

    def add(self, operator: fx.Node, kind: type[Node], inputs: tuple[str, ...], **rest) -> None:
        """Append a node for an operator, and check its shape against the exported one."""
        if kind is not FullyConnected and (flat := [i for i in inputs if i in self.flattened]):
            raise self.refuse(
                operator,
                f"reads a flattened map of {self.flattened[flat[0]]}; only a linear layer may",
            )
        self._put(operator, kind(self._unique_name(operator, kind), inputs, **rest))

    def _put(self, operator: fx.Node, node: Node) -> None:
        shape = node.infer(tuple(self.shapes[i] for i in node.inputs))
        expected = operator.meta["val"].shape[1:]
        if not isinstance(node, Flatten) and _chw(shape) != tuple(expected) + (1,) * (
            3 - len(expected)
        ):
            raise self.refuse(
                operator,
                f"yields {tuple(expected)} (CHW), which its plain form ({shape} as HWC) does not; "
                "ceil_mode and broadcasting are not supported",
            )
        self.nodes[node.name] = node
        self.shapes[node.name] = shape
        self.value[operator] = node.name

    def _unique_name(self, operator: fx.Node, kind: type[Node]) -> str:
        path = _module_path(operator)
        if issubclass(kind, WeightedNode):
            path = self._shortest_path(path)
        elif not _is_leaf(operator):
            path = f"{path}.{kind.__name__.lower()}"
        name = re.sub(r"\W+", "_", path).strip("_") or kind.__name__.lower()
        if name[0].isdigit():
            name = f"{kind.__name__.lower()}_{name}"
        if name not in self.nodes:
            return name
        return next(f"{name}_{i}" for i in range(2, 10_000) if f"{name}_{i}" not in self.nodes)

    def _shortest_path(self, path: str) -> str:
        """Drop trailing components that tell nothing: `stem.0` is `stem` if it is alone there."""
        parts = path.split(".")
        while len(parts) > 1:
            parent = ".".join(parts[:-1]) + "."
            if sum(p.startswith(parent) for p in self.layer_paths) > 1:
                break
            parts.pop()
        return ".".join(parts)

    def alias(self, operator: fx.Node) -> None:
        self.value[operator] = self.read(operator, operator.args[0])

    def readers(self, value: str) -> int:
        """How many operators read this node's tensor, over all the names it goes by."""
        held = [key for key, node_name in self.value.items() if node_name == value]
        return len({u for key in held for u in key.users if u not in self.value})

    def only_reader(self, operator: fx.Node, value: str) -> None:
        """Refuse to change a tensor that another operator reads as well."""
        if self.readers(value) > 1:
            raise self.refuse(
                operator,
                f"changes the tensor of '{value}', which another operator reads unchanged; "
                "fusing it is impossible",
            )


def _conv2d(state: _Importer, operator: fx.Node) -> None:
    x, weight, bias, stride, padding, dilation, groups = _arguments(
        operator, 7, (None, [1, 1], [0, 0], [1, 1], 1)
    )
    source = state.read(operator, x)
    filters = state.constant(operator, weight)
    if set(dilation) != {1}:
        raise state.refuse(operator, f"has dilation {dilation}; only 1 is supported")
    oc, ic_per_group, kh, kw = filters.shape
    depthwise = groups > 1 and groups == state.shapes[source].c == oc and ic_per_group == 1
    if groups != 1 and not depthwise:
        raise state.refuse(
            operator,
            f"has groups={groups} for {state.shapes[source].c} input and {oc} output channels; "
            "supported are 1 group, or as many groups as input and output channels (depthwise)",
        )
    state.add(
        operator,
        DepthwiseConv2d if depthwise else Conv2d,
        (source,),
        weight=np.ascontiguousarray(filters.transpose(0, 2, 3, 1)),
        bias=_bias(state.constant(operator, bias), oc),
        window=_window((kh, kw), stride, padding),
    )


def _linear(state: _Importer, operator: fx.Node) -> None:
    x, weight, bias = _arguments(operator, 3, (None,))
    source = state.read(operator, x)
    matrix = state.constant(operator, weight)
    if source in state.flattened:
        m = state.flattened[source]
        matrix = matrix.reshape(-1, m.c, m.h, m.w).transpose(0, 2, 3, 1).reshape(len(matrix), -1)
    state.add(
        operator,
        FullyConnected,
        (source,),
        weight=np.ascontiguousarray(matrix),
        bias=_bias(state.constant(operator, bias), len(matrix)),
    )


def _batch_norm(state: _Importer, operator: fx.Node) -> None:
    x, gamma, beta, mean, variance, _, _, epsilon = operator.args[:8]
    source = state.read(operator, x)
    layer = state.nodes[source]
    if not isinstance(layer, WeightedNode) or layer.activation is not Activation.NONE:
        raise state.refuse(
            operator,
            f"follows {layer.op} '{source}'; batch norm must come directly after a convolution or "
            "a linear layer, so that it can be folded",
        )
    state.only_reader(operator, source)
    gamma, beta, mean, variance = (
        state.constant(operator, a) for a in (gamma, beta, mean, variance)
    )
    if mean is None or variance is None:
        raise state.refuse(operator, "keeps no running statistics; train it with them")
    scale = (1.0 if gamma is None else gamma.astype(np.float64)) / np.sqrt(variance + epsilon)
    shift = (0.0 if beta is None else beta) - mean * scale
    weight = layer.weight * scale.reshape(-1, *(1,) * (layer.weight.ndim - 1))
    state.nodes[source] = replace(
        layer,
        weight=weight.astype(np.float32),
        bias=(layer.bias * scale + shift).astype(np.float32),
    )
    state.value[operator] = source


def _relu(state: _Importer, operator: fx.Node) -> None:
    _fuse(state, operator, Activation.RELU)


def _relu6(state: _Importer, operator: fx.Node) -> None:
    _fuse(state, operator, Activation.RELU6)


def _clamp(state: _Importer, operator: fx.Node) -> None:
    _, low, high = _arguments(operator, 3, (None, None))
    name = _operator_name(operator)
    if name == "hardtanh":
        low, high = -1 if low is None else low, 1 if high is None else high
    bounds = {(0, 6): Activation.RELU6, (0, None): Activation.RELU}
    if (low, high) not in bounds:
        raise state.refuse(
            operator, f"clamps to [{low}, {high}]; supported are [0, 6] and [0, unlimited]"
        )
    _fuse(state, operator, bounds[low, high])


def _fuse(state: _Importer, operator: fx.Node, activation: Activation) -> None:
    source = state.read(operator, operator.args[0])
    _activate(state, operator, source, activation)
    state.value[operator] = source


def _activate(state: _Importer, operator: fx.Node, source: str, activation: Activation) -> None:
    """Put the activation on the node, or, where it commutes with it, on the nodes before."""
    node = state.nodes[source]
    state.only_reader(operator, source)
    if isinstance(node, WeightedNode | Add):
        both = {node.activation, activation}
        strongest = Activation.RELU6 if Activation.RELU6 in both else activation
        state.nodes[source] = replace(node, activation=strongest)
    elif isinstance(node, MaxPool | Flatten | Concat):
        for earlier in node.inputs:
            _activate(state, operator, earlier, activation)
    else:
        raise state.refuse(
            operator,
            f"follows {node.op} '{source}'; an activation can be fused into a convolution, a "
            "linear layer or an add (also through max pooling, flatten and concat)",
        )


def _add(state: _Importer, operator: fx.Node) -> None:
    left, right = operator.args[:2]
    if operator.kwargs.get("alpha", 1) != 1:
        raise state.refuse(operator, f"has alpha={operator.kwargs['alpha']}; only 1 is supported")
    state.add(operator, Add, (state.read(operator, left), state.read(operator, right)))


def _max_pool2d(state: _Importer, operator: fx.Node) -> None:
    x, kernel, stride, padding, dilation, _ = _arguments(operator, 6, ([], [0, 0], [1, 1], False))
    if set(_pair(dilation)) != {1}:
        raise state.refuse(operator, f"has dilation {dilation}; only 1 is supported")
    _pool(state, operator, MaxPool, _window(_pair(kernel), stride or kernel, padding), x)


def _avg_pool2d(state: _Importer, operator: fx.Node) -> None:
    x, kernel, stride, padding, _, _, divisor = _arguments(
        operator, 7, ([], [0, 0], False, True, None)
    )
    window = _window(_pair(kernel), stride or kernel, padding)
    if divisor not in (None, window.kernel_h * window.kernel_w):
        raise state.refuse(operator, f"has divisor_override={divisor}, which is not supported")
    _pool(state, operator, AveragePool, window, x)


def _adaptive_avg_pool2d(state: _Importer, operator: fx.Node) -> None:
    x, size = operator.args[:2]
    shape = state.shapes[state.read(operator, x)]
    oh, ow = operator.meta["val"].shape[2:]
    if shape.h % oh or shape.w % ow:
        raise state.refuse(operator, f"makes {size} of {shape}; the sizes must divide one another")
    kernel = (shape.h // oh, shape.w // ow)
    _pool(state, operator, AveragePool, _window(kernel, kernel, 0), x)


def _pool(
    state: _Importer, operator: fx.Node, kind: type[Node], window: Window, x: fx.Node
) -> None:
    source = state.read(operator, x)
    shape = state.shapes[source]
    if window.padded:
        raise state.refuse(operator, "is padded; only pooling without padding is supported")
    if (window.kernel_h, window.kernel_w, window.stride_h, window.stride_w) == (1, 1, 1, 1):
        state.value[operator] = source
    elif kind is AveragePool and (window.kernel_h, window.kernel_w) == (shape.h, shape.w):
        state.add(operator, GlobalAveragePool, (source,))
    else:
        state.add(operator, kind, (source,), window=window)


def _mean(state: _Importer, operator: fx.Node) -> None:
    x, dims = operator.args[:2]
    source = state.read(operator, x)
    if {d % 4 for d in dims} != {2, 3} or x.meta["val"].ndim != 4:
        raise state.refuse(operator, f"is over dimensions {dims}; only (2, 3) is supported")
    if (state.shapes[source].h, state.shapes[source].w) == (1, 1):
        state.value[operator] = source
    else:
        state.add(operator, GlobalAveragePool, (source,))


def _reshape(state: _Importer, operator: fx.Node) -> None:
    source = state.read(operator, operator.args[0])
    before, after = operator.args[0].meta["val"].shape, operator.meta["val"].shape
    shape = state.shapes[source]
    pixel = (shape.h, shape.w) == (1, 1)
    if before == after or (pixel and sum(d > 1 for d in after) <= 1):
        state.value[operator] = source
    elif tuple(after) == (1, shape.size):
        state.add(operator, Flatten, (source,))
        state.flattened[state.value[operator]] = shape
    else:
        raise state.refuse(
            operator, f"makes {tuple(after)} of {tuple(before)}; only flattening is supported"
        )


def _cat(state: _Importer, operator: fx.Node) -> None:
    tensors, dim = _arguments(operator, 2, (0,))
    if dim % operator.meta["val"].ndim != 1:
        raise state.refuse(operator, f"is over dimension {dim}; only channels (1) are supported")
    state.add(operator, Concat, tuple(state.read(operator, t) for t in tensors))


def _operator_name(operator: fx.Node) -> str:
    """`relu` for aten.relu.default and aten.relu_.default alike; empty for what is no operator."""
    if operator.op != "call_function":
        return ""
    parts = str(operator.target).split(".")
    return parts[1].removesuffix("_") if len(parts) > 1 else parts[0]


def _module_path(operator: fx.Node) -> str:
    """`stack1.conv1.0`: the module whose forward called the operator; empty for the top one."""
    stack = list(operator.meta.get("nn_module_stack", {}).values())
    return stack[-1][0] if stack else ""


def _is_leaf(operator: fx.Node) -> bool:
    """Whether the operator was called by a module of torch.nn rather than by a user's forward."""
    stack = list(operator.meta.get("nn_module_stack", {}).values())
    return bool(stack) and str(stack[-1][1]).startswith("torch.nn.modules.")


def _source_line(operator: fx.Node) -> str:
    """` (file.py, line 12)` of the user's code if torch recorded it, else nothing."""
    calls = re.findall(r'File "([^"]+)", line (\d+)', operator.meta.get("stack_trace") or "")
    own = [c for c in calls if "/torch/nn/" not in c[0]] or calls
    return f" ({own[-1][0]}, line {own[-1][1]})" if own else ""


def _parameters(program: torch.export.ExportedProgram) -> dict[str, torch.Tensor]:
    """Parameters, buffers and constants by the name of their placeholder."""
    signature = program.graph_signature
    targets = signature.inputs_to_parameters | signature.inputs_to_buffers
    values = program.constants | program.state_dict
    found = {name: values[target] for name, target in targets.items()}
    lifted = signature.inputs_to_lifted_tensor_constants
    return found | {name: program.constants[t] for name, t in lifted.items()}


def _arguments(operator: fx.Node, count: int, defaults: tuple) -> list:
    """Positional arguments of an operator, its trailing defaults filled in."""
    given = list(operator.args) + list(operator.kwargs.values())
    missing = count - len(given)
    return given + list(defaults[len(defaults) - missing :] if missing > 0 else ())


def _bias(bias: np.ndarray | None, oc: int) -> np.ndarray:
    return np.zeros(oc, np.float32) if bias is None else bias


def _pair(value: int | list[int]) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    return (value[0], value[-1])


def _window(kernel: tuple[int, int], stride: object, padding: object) -> Window:
    """padding: a number, a pair, or torch's words 'valid' and 'same' (which has stride 1)."""
    kh, kw = kernel
    if padding == "same":
        # torch puts the odd pixel at the end.
        top, left = (kh - 1) // 2, (kw - 1) // 2
        sides = (top, kh - 1 - top, left, kw - 1 - left)
    else:
        ph, pw = (0, 0) if padding == "valid" else _pair(padding)
        sides = (ph, ph, pw, pw)
    return Window(kh, kw, *_pair(stride), *sides)


def _chw(shape: Shape) -> tuple[int, int, int]:
    return (shape.c, shape.h, shape.w)


_HANDLERS: dict[str, Callable[[_Importer, fx.Node], None]] = (
    {
        "conv2d": _conv2d,
        "linear": _linear,
        "batch_norm": _batch_norm,
        "relu": _relu,
        "relu6": _relu6,
        "hardtanh": _clamp,
        "clamp": _clamp,
        "clamp_min": _clamp,
        "add": _add,
        "max_pool2d": _max_pool2d,
        "avg_pool2d": _avg_pool2d,
        "adaptive_avg_pool2d": _adaptive_avg_pool2d,
        "mean": _mean,
        "cat": _cat,
        "concat": _cat,
    }
    | dict.fromkeys(_IDENTITIES, _Importer.alias)
    | dict.fromkeys(_RESHAPES, _reshape)
)
