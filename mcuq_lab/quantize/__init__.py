"""Quantization: from a float `Graph` and a `Policy` to the integers of a `QuantGraph`.

`StepTables` hold least-squares steps for all widths, `QuantState` the real weights and steps of one
policy (post-training or fine-tuned), `to_integers` makes the `QuantGraph`; `run_reference` is the
oracle of every engine. `find_quantized` gives the stored result of a training where there is one.
What needs torch is loaded when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module

from mcuq_lab.quantize.inputs import quantize_input
from mcuq_lab.quantize.random_graphs import random_graph, random_inputs, single_layer
from mcuq_lab.quantize.ranges import check_ranges
from mcuq_lab.quantize.reference import run_reference, run_reference_all
from mcuq_lab.quantize.state import AffineMap, QuantState
from mcuq_lab.quantize.tensors import TensorGroup, group_bits, tensor_groups

_WITH_TORCH = {
    "Correction": "correction",
    "FakeQuantized": "fake",
    "FinetuneConfig": "finetuning",
    "IncrementalExecutor": "incremental",
    "Lessons": "finetuning",
    "Origin": "stored",
    "QatConfig": "qat",
    "QuantizedNetwork": "stored",
    "QuantizedProvenance": "stored",
    "StepTables": "calibration",
    "calibrate": "calibration",
    "evaluate": "executor",
    "find_quantized": "stored",
    "finetune": "finetuning",
    "float_statistics": "correction",
    "initial_state": "post_training",
    "load_quantized": "stored",
    "load_quantized_provenance": "stored",
    "predict": "executor",
    "quantization_aware_training": "qat",
    "quantize": "post_training",
    "run_integers": "executor",
    "run_unchecked": "executor",
    "save_quantized": "stored",
    "stored_mixed": "stored",
    "teach": "finetuning",
    "Trained": "finetuning",
    "to_integers": "export",
    "train_quantized": "train",
}

__all__ = [
    "AffineMap",
    "Correction",
    "FakeQuantized",
    "FinetuneConfig",
    "IncrementalExecutor",
    "Lessons",
    "Origin",
    "QatConfig",
    "QuantState",
    "QuantizedNetwork",
    "QuantizedProvenance",
    "StepTables",
    "TensorGroup",
    "Trained",
    "calibrate",
    "check_ranges",
    "evaluate",
    "find_quantized",
    "finetune",
    "float_statistics",
    "group_bits",
    "initial_state",
    "load_quantized",
    "load_quantized_provenance",
    "predict",
    "quantization_aware_training",
    "quantize",
    "quantize_input",
    "random_graph",
    "random_inputs",
    "run_integers",
    "run_reference",
    "run_reference_all",
    "run_unchecked",
    "save_quantized",
    "single_layer",
    "stored_mixed",
    "teach",
    "tensor_groups",
    "to_integers",
    "train_quantized",
]


def __getattr__(name: str):
    if name in _WITH_TORCH:
        return getattr(import_module(f"{__name__}.{_WITH_TORCH[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
