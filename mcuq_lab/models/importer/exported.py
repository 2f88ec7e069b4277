"""How to read an operator of an exported program: its name, its place, its arguments."""

import re

import torch
from torch import fx


def operator_name(operator: fx.Node) -> str:
    """`relu` for aten.relu.default and aten.relu_.default alike; empty for what is no operator."""
    if operator.op != "call_function":
        return ""
    parts = str(operator.target).split(".")
    return parts[1].removesuffix("_") if len(parts) > 1 else parts[0]


def module_path(operator: fx.Node) -> str:
    """`stack1.conv1.0`: the module whose forward called the operator; empty for the top one."""
    stack = list(operator.meta.get("nn_module_stack", {}).values())
    return stack[-1][0] if stack else ""


def is_leaf(operator: fx.Node) -> bool:
    """Whether the operator was called by a module of torch.nn rather than by a user's forward."""
    stack = list(operator.meta.get("nn_module_stack", {}).values())
    return bool(stack) and str(stack[-1][1]).startswith("torch.nn.modules.")


def source_line(operator: fx.Node) -> str:
    """` (file.py, line 12)` of the user's code if torch recorded it, else nothing."""
    calls = re.findall(r'File "([^"]+)", line (\d+)', operator.meta.get("stack_trace") or "")
    own = [c for c in calls if "/torch/nn/" not in c[0]]
    return f" ({own[-1][0]}, line {own[-1][1]})" if own else ""


def parameters(program: torch.export.ExportedProgram) -> dict[str, torch.Tensor]:
    """Parameters, buffers and constants by the name of their placeholder."""
    signature = program.graph_signature
    targets = signature.inputs_to_parameters | signature.inputs_to_buffers
    values = program.constants | program.state_dict
    found = {name: values[target] for name, target in targets.items()}
    lifted = signature.inputs_to_lifted_tensor_constants
    return found | {name: program.constants[t] for name, t in lifted.items()}


def arguments(operator: fx.Node, count: int, defaults: tuple) -> list:
    """Positional arguments of an operator, its trailing defaults filled in."""
    given = list(operator.args) + list(operator.kwargs.values())
    missing = count - len(given)
    return given + list(defaults[len(defaults) - missing :] if missing > 0 else ())
