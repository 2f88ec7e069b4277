"""Who needs only numpy must not wait for torch."""

import subprocess
import sys


def test_the_numpy_part_loads_neither_torch_nor_numba():
    program = """
import sys
from mcuq_lab import storage
from mcuq_lab.quantize import (
    check_ranges, group_bits, quantize_input, random_graph, random_inputs, run_reference,
)
graph = random_graph(0)
run_reference(graph, random_inputs(graph, 2))
loaded = {"torch", "numba"} & set(sys.modules)
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_every_public_name_can_be_had():
    import mcuq_lab.quantize

    for name in mcuq_lab.quantize.__all__:
        assert callable(getattr(mcuq_lab.quantize, name)), name
