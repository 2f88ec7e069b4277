"""What the import knows while it walks over the operators of an exported program."""

import re

import numpy as np
import torch
from torch import fx

from mcuq_lab.errors import ModelError
from mcuq_lab.graph import Flatten, FullyConnected, Input, Node, Shape, WeightedNode
from mcuq_lab.models.importer.exported import (
    is_leaf,
    module_path,
    operator_name,
    parameters,
    source_line,
)


class ImportState:
    """The pass over the exported operators: `nodes` so far, and which node yields which value."""

    def __init__(
        self, program: torch.export.ExportedProgram, name: str, input_range: tuple[float, float]
    ) -> None:
        self.name, self.input_range = name, input_range
        self.operators = list(program.graph.nodes)
        self.parameters = parameters(program)
        self.layer_paths = {
            module_path(n) for n in self.operators if operator_name(n) in ("conv2d", "linear")
        }
        self.nodes: dict[str, Node] = {}
        self.shapes: dict[str, Shape] = {}
        # The name of the node that holds the value of an fx node.
        self.value: dict[fx.Node, str] = {}
        # Flatten nodes of maps larger than 1x1, whose order of elements differs from torch's.
        self.flattened: dict[str, Shape] = {}

    def placeholder(self, operator: fx.Node) -> None:
        """Take up the input; parameters are read where they are used."""
        if operator.name in self.parameters:
            return
        if self.nodes:
            raise ModelError(
                f"{self.name} takes more than one input ({operator.name}); only networks of one "
                "input are supported"
            )
        _, c, h, w = operator.meta["val"].shape
        self._put(operator, Input("input", (), Shape(h, w, c), *self.input_range))

    def output(self, operator: fx.Node) -> None:
        """Check what is returned and drop what it does not depend on."""
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

    def refuse(self, operator: fx.Node, why: str) -> ModelError:
        """A ModelError that names the operator, its module and its source line."""
        path = module_path(operator) or "(top)"
        line = source_line(operator)
        return ModelError(f"operator {operator.target} at module {path}{line} {why}")

    def read(self, operator: fx.Node, argument: object) -> str:
        """The name of the node that an argument refers to."""
        if not isinstance(argument, fx.Node) or argument not in self.value:
            raise self.refuse(
                operator,
                f"combines an activation with the constant {argument}; only activations can be "
                "combined",
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
        as_map = (*expected, 1, 1)[:3]
        if not isinstance(node, Flatten) and (shape.c, shape.h, shape.w) != as_map:
            raise self.refuse(
                operator,
                f"yields {tuple(expected)} (CHW), which its plain form ({shape} as HWC) does not; "
                "ceil_mode and broadcasting are not supported",
            )
        self.nodes[node.name] = node
        self.shapes[node.name] = shape
        self.value[operator] = node.name

    def _unique_name(self, operator: fx.Node, kind: type[Node]) -> str:
        path = module_path(operator)
        if issubclass(kind, WeightedNode):
            path = self._shortest_path(path)
        elif not is_leaf(operator):
            path = f"{path}.{_snake(kind)}"
        name = re.sub(r"\W+", "_", path).strip("_") or _snake(kind)
        if name[0].isdigit():
            name = f"{_snake(kind)}_{name}"
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
        """Let an operator that changes nothing stand for its input."""
        self.value[operator] = self.read(operator, operator.args[0])

    def only_reader(self, operator: fx.Node, name: str, behind: str | None = None) -> None:
        """Refuse to change node `name` if more than `operator` (through `behind`) reads it."""
        in_graph = {node.name for node in self.nodes.values() if name in node.inputs}
        held = [key for key, node_name in self.value.items() if node_name == name]
        to_come = {user for key in held for user in key.users if user not in self.value}
        if in_graph - {behind} or to_come - {operator}:
            raise self.refuse(
                operator,
                f"cannot be fused into '{name}', whose tensor is read elsewhere as it is; let "
                "every reader take the result instead",
            )


def _snake(kind: type[Node]) -> str:
    """`GlobalAveragePool` -> `global_average_pool`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind.__name__).lower()
