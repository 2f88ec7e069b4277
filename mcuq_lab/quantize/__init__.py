"""Quantization: from a float `Graph` and a `Policy` to the integers of a `QuantGraph`."""

from __future__ import annotations

from mcuq_lab.quantize.ranges import check_ranges
from mcuq_lab.quantize.reference import run_reference, run_reference_all

__all__ = ["check_ranges", "run_reference", "run_reference_all"]
