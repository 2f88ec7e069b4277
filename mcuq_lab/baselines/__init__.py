"""Other engines' algorithms on the same networks, boards and compilers, for honest ratios."""
