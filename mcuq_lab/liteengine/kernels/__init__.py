"""Kernel families: C kernels, and the Python that lowers an operator to a call of one of them."""
