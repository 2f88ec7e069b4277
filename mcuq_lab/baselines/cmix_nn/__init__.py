"""CMix-NN's mixed-precision algorithms, written anew from what is published about them.

Source: Capotondi, Rusci, Fariselli, Benini, "CMix-NN: Mixed Low-Precision CNN Library for
Memory-Constrained Edge Devices", IEEE TCAS-II 67(5), 2020; Rusci et al., arXiv:1905.13082 (integer
channel normalization): dense fields of 8, 4 or 2 bits, im2col, widening by mask and shift, SMLAD in
2x2 blocks. The requantization is the one of `QuantGraph`, so the outputs are `run_reference`'s.
"""

from mcuq_lab.baselines.cmix_nn.codegen import ENGINE_NAME, WIDTHS, generate

__all__ = ["ENGINE_NAME", "WIDTHS", "generate"]
