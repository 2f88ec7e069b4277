"""The best choice of kernels within a budget of flash, by CP-SAT.

A price of flash cannot do that by itself: it leads to the corners of the convex hull of cycles over
bytes, between which there may be far better choices for a budget.
"""

from __future__ import annotations

from collections.abc import Sequence

from mcuq_lab.liteengine.sharing import Choice, SharedChoice

_SOLVER_LIMIT = 4.0
"""Of CP-SAT's deterministic time, about seconds; ResNet-8 takes a fiftieth of it."""

_SOLVER_SEED = 1


_FLASH_ALONE = 1e6
"""Cycles of a byte that leave cycles no say."""


def smallest_choice(shared: SharedChoice) -> Choice:
    """The choice with the least flash, of equal ones the fastest."""
    return _solved(shared, None, _FLASH_ALONE, shared.best(_FLASH_ALONE))


def cheapest_within(
    shared: SharedChoice, budget_bytes: int, cycles_per_byte: float, known: Choice
) -> Choice:
    """The choice with the lowest cycles + price of its flash that takes at most `budget_bytes`.

    Args:
        shared: the ways of all operators.
        budget_bytes: of constants and code.
        cycles_per_byte: price of flash.
        known: a choice within the budget, for the solver to begin with.
    """
    return _solved(shared, budget_bytes, cycles_per_byte, known)


def _solved(
    shared: SharedChoice, budget_bytes: int | None, cycles_per_byte: float, known: Choice
) -> Choice:
    from ortools.sat.python import cp_model  # slow to import, and rarely needed

    model = cp_model.CpModel()
    taken = [[model.new_bool_var("") for _ in some] for some in shared.options]
    file_bytes = shared.file_bytes
    there = {i: model.new_bool_var("") for i, size in enumerate(file_bytes) if size}
    terms = [there[i] * file_bytes[i] for i in there]
    for some, chosen in zip(shared.options, taken, strict=True):
        model.add_exactly_one(chosen)
        for option, variable in zip(some, chosen, strict=True):
            terms.append(variable * option.constants_bytes)
            for i in there:
                if option.files >> i & 1:
                    model.add_implication(variable, there[i])
    flash = sum(terms)
    if budget_bytes is not None:
        model.add(flash <= budget_bytes)
    cycles = sum(
        variable * round(option.cycles)
        for some, chosen in zip(shared.options, taken, strict=True)
        for option, variable in zip(some, chosen, strict=True)
    )
    model.minimize(cycles + round(cycles_per_byte) * flash)
    for chosen, index in zip(taken, known, strict=True):
        for i, variable in enumerate(chosen):
            model.add_hint(variable, i == index)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = _SOLVER_SEED
    solver.parameters.max_deterministic_time = _SOLVER_LIMIT
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return known
    return tuple(_index_of_one([solver.value(variable) for variable in some]) for some in taken)


def _index_of_one(values: Sequence[int]) -> int:
    return max(range(len(values)), key=values.__getitem__)
