"""A trained torch.nn.Module becomes a Graph: torch.export, then one pass over its operators.

Batch norm is folded into the convolution or linear layer before it, ReLU and ReLU6 are fused into
the node that yields their input, dropout and identities vanish. Tensors change from NCHW to NHWC,
weights from OIHW to OHWI; where a map larger than 1x1 is flattened, the columns of the linear layer
behind it are permuted from CHW to HWC order.
"""

import copy

import torch
from torch import fx, nn

from mcuq_lab.errors import ModelError
from mcuq_lab.graph import Graph
from mcuq_lab.models.importer.exported import operator_name
from mcuq_lab.models.importer.rules import HINTS, RULES, SUPPORTED
from mcuq_lab.models.importer.state import ImportState

__all__ = ["SUPPORTED", "import_module"]


def import_module(
    module: nn.Module,
    example_input_shape: tuple[int, int, int] = (3, 32, 32),
    name: str = "model",
    *,
    input_range: tuple[float, float] = (0.0, 1.0),
) -> Graph:
    """The inference-mode network of `module` as a Graph of float32 operators.

    module: any module whose forward takes one NCHW float tensor and returns one tensor; it is
    copied, not changed. example_input_shape: (channels, height, width). input_range: what pixels 0
    and 255 are as its input; (-1, 1) is `Normalize(0.5, 0.5)`.
    Raises ModelError for what cannot be represented, with the operator, its place and what to do.
    """
    module = copy.deepcopy(module).to("cpu", torch.float32).eval()
    example = torch.zeros(1, *example_input_shape)
    try:
        with torch.no_grad():
            program = torch.export.export(module, (example,))
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"torch.export cannot trace {type(module).__name__} on an input of shape "
            f"{tuple(example.shape)}: {reason} Try `torch.export.export(module.eval(), (x,))` "
            "yourself; control flow that depends on data must go"
        ) from error
    state = ImportState(program, name, input_range)
    for operator in state.operators:
        if operator.op == "placeholder":
            state.placeholder(operator)
        elif operator.op == "call_function":
            _call(state, operator)
        elif operator.op == "output":
            state.output(operator)
    return Graph(name, tuple(state.nodes.values()))


def _call(state: ImportState, operator: fx.Node) -> None:
    name = operator_name(operator)
    if name not in RULES:
        if name.startswith("_assert") or not operator.users:
            return
        raise state.refuse(
            operator, f"is not supported. {HINTS.get(name, '')}Supported: {SUPPORTED}"
        )
    try:
        RULES[name](state, operator)
    except ModelError as error:
        if error.args[0].startswith("operator "):
            raise
        raise state.refuse(operator, f"does not fit: {error}") from error
