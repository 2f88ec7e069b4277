"""Quantization: from a float `Graph` and a `Policy` to the integers of a `QuantGraph`."""

from __future__ import annotations

from mcuq_lab.quantize.random_graphs import random_graph, random_inputs, single_layer
from mcuq_lab.quantize.ranges import check_ranges
from mcuq_lab.quantize.reference import run_reference, run_reference_all

__all__ = [
    "check_ranges",
    "random_graph",
    "random_inputs",
    "run_reference",
    "run_reference_all",
    "single_layer",
]
