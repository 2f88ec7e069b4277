"""CMSIS-NN's int8 algorithms, and those for 4-bit weights, written anew from what is published.

Sources: Lai, Suda, Chandra, "CMSIS-NN", arXiv:1801.06601 (2018): im2col into int16, SXTB16 and
SMLAD, 2x2 register blocks; the TensorFlow Lite 8-bit specification: requantization.
"""

from mcuq_lab.baselines.cmsis_nn.codegen import ENGINE_NAME, generate
from mcuq_lab.baselines.cmsis_nn.executor import run_integers
from mcuq_lab.baselines.cmsis_nn.reference import run_reference
from mcuq_lab.baselines.cmsis_nn.tflite import WEIGHT_BITS

__all__ = ["ENGINE_NAME", "WEIGHT_BITS", "generate", "run_integers", "run_reference"]
