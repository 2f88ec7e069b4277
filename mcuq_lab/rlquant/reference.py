"""What a search is measured against, kept in its `reference.json`.

It is written when the first policy is measured, and tells which network the rows are of.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from mcuq_lab.errors import ConfigError
from mcuq_lab.graph import Graph
from mcuq_lab.policy import Policy
from mcuq_lab.results import ReferencePoint, Row, write_atomically

_NAME = "reference.json"


def save_reference(
    run_dir: Path, point: ReferencePoint, float_accuracy: float, graph: Graph, row: Row
) -> None:
    """Writes the reference point of a run, with the row of the uniform policy that it came from."""
    content = {
        "reference": asdict(point),
        "float_accuracy": float_accuracy,
        "graph_digest": graph.digest,
        "layers": [layer.name for layer in graph.layers],
        "policy": str(Policy.of(row.policy)),
    }
    write_atomically(run_dir / _NAME, (json.dumps(content, indent=2) + "\n").encode())


def check_network(run_dir: Path, graph: Graph) -> None:
    """Raises ConfigError if a run has rows of a network that is not `graph`."""
    if not (run_dir / _NAME).exists():
        return
    # The first versions kept no digest.
    if _read(run_dir).get("graph_digest", graph.digest) != graph.digest:
        raise ConfigError(
            f"{run_dir.name} was begun with another '{graph.name}' than the present one (its "
            "weights differ); bring the old one back, or begin a new search."
        )


def reference_of(run_dir: Path) -> ReferencePoint:
    """The reference point of a run; raises ConfigError before its reference policy is measured."""
    return ReferencePoint(**_read(run_dir)["reference"])


def float_accuracy_of(run_dir: Path) -> float:
    """Accuracy of the float network on the run's validation split; ConfigError as above."""
    return float(_read(run_dir)["float_accuracy"])


def layer_names_of(run_dir: Path) -> list[str]:
    """Names of the layers that a run's policies speak of; ConfigError as above."""
    return list(_read(run_dir)["layers"])


def _read(run_dir: Path) -> dict:
    path = run_dir / _NAME
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} cannot be read ({error}); it is written when the first policy is measured. "
            "Wait for it, or resume the run."
        ) from error
