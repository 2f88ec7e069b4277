"""CMSIS-NN's int8 algorithms, written anew from what is published about them.

Sources: Lai, Suda, Chandra, "CMSIS-NN", arXiv:1801.06601 (2018): im2col into int16, SXTB16 and
SMLAD, 2x2 register blocks; the TensorFlow Lite 8-bit specification: requantization.
"""

from mcuq_lab.baselines.cmsis_nn.codegen import ENGINE_NAME, generate
from mcuq_lab.baselines.cmsis_nn.executor import run_integers
from mcuq_lab.baselines.cmsis_nn.reference import run_reference

__all__ = ["ENGINE_NAME", "generate", "run_integers", "run_reference"]
