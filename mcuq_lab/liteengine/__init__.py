"""LiteEngine: from a quantized network to specialised C with packed operands."""
