"""General operand packing: which packings of weights and activations are valid, and what they cost.

A register that holds several small numbers is a polynomial in z = 2**s; one wide multiplication
is a product of polynomials, and an accumulator sums up many of them as long as no coefficient (a
*field* of s bits) leaves its range. `row` packs rows of pixels against the taps of a filter row,
for SMLAL; `halves` packs the halves of SMLAD.
"""
