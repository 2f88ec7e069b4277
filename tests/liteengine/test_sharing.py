"""Kernels chosen for all operators together: flash against cycles, within budgets."""

from __future__ import annotations

import itertools
import subprocess

import numpy as np
import pytest

from mcuq_lab.bench import BuildFlags, find_toolchain
from mcuq_lab.bench.objects import compile_objects
from mcuq_lab.board import DEFAULT_BOARD, load_board
from mcuq_lab.content_cache import user_cache
from mcuq_lab.errors import FitError
from mcuq_lab.liteengine import generate, plan
from mcuq_lab.liteengine.code_size import code_bytes
from mcuq_lab.liteengine.flash_budget import cheapest_within, smallest_choice
from mcuq_lab.liteengine.lowering import Lowered, near_fastest
from mcuq_lab.liteengine.schedule import FLASH_PRICE, choose
from mcuq_lab.liteengine.sharing import CALL_BYTES, SharedChoice
from mcuq_lab.sources import SourceFile
from mcuq_lab.target import Target
from tests.support.networks import mobilenet, resnet8
from tests.support.simulated_core import has_toolchain


def kernel_file(name: str, instructions: int) -> SourceFile:
    return SourceFile(f"{name}.c", '    "nop\\n"\n' * instructions)


def way(kernel: str, instructions: int = 300, constants: int = 0) -> Lowered:
    return Lowered(kernel, "", (kernel_file(kernel, instructions),), "", "call();", constants)


A, B, C = way("a"), way("b"), way("c")
KERNEL_BYTES = code_bytes(A.files[0])


def test_a_shared_file_counts_once():
    shared = SharedChoice.of([[A, B], [A, B], [A]], [[1, 2], [1, 2], [1]])
    assert shared.flash_bytes((0, 0, 0)) == KERNEL_BYTES + 3 * CALL_BYTES
    assert shared.flash_bytes((0, 1, 0)) == 2 * KERNEL_BYTES + 3 * CALL_BYTES


def test_operators_meet_on_one_kernel_if_it_is_cheap_enough():
    shared = SharedChoice.of([[A, B], [B, A]], [[1000, 1100], [1000, 1100]])
    assert shared.best(0.0) == (0, 0)
    assert shared.best(90 / KERNEL_BYTES) == (0, 0)
    assert shared.best(110 / KERNEL_BYTES) in ((0, 1), (1, 0))


def test_all_operators_may_move_to_a_kernel_that_nobody_likes_best():
    ways = [[A, way("x")], [B, way("x")], [C, way("x")]]
    shared = SharedChoice.of(ways, [[1000, 1050]] * 3)
    assert shared.best(0.0) == (0, 0, 0)
    assert shared.best(100 / KERNEL_BYTES) == (1, 1, 1)


@pytest.mark.parametrize("seed", range(8))
def test_moves_find_nearly_the_best_of_all_choices(seed):
    rng = np.random.default_rng(seed)
    kernels = [way(f"k{i}", int(rng.integers(50, 600))) for i in range(6)]
    ways = [[kernels[i] for i in rng.permutation(6)[:3]] for _ in range(6)]
    cycles = [[float(c) for c in rng.integers(1000, 1400, 3)] for _ in range(6)]
    shared = SharedChoice.of(ways, cycles)
    for price in (0.05, 0.2, 1.0):

        def cost(choice, price=price):
            return shared.cycles(choice) + price * shared.flash_bytes(choice)

        found = cost(shared.best(price))
        assert found <= cost(shared.fastest())
        assert found <= 1.02 * min(map(cost, itertools.product(range(3), repeat=6)))


@pytest.mark.parametrize("seed", range(8))
def test_moves_are_those_that_the_costs_of_whole_choices_lead_to(seed):
    rng = np.random.default_rng(seed)
    files = [kernel_file(f"f{i}", int(rng.integers(50, 600))) for i in range(9)]
    ways = [[of_some(rng, files) for _ in range(rng.integers(1, 6))] for _ in range(8)]
    cycles = [[int(c) for c in rng.integers(1000, 1400, len(some))] for some in ways]
    for price in (0.0, 0.05, 0.2, 1.0):
        shared = SharedChoice.of(ways, cycles)
        assert shared.best(price) == by_whole_costs(shared, price)


@pytest.mark.parametrize("seed", range(4))
def test_a_choice_among_some_ways_is_that_of_these_alone(seed):
    rng = np.random.default_rng(seed)
    files = [kernel_file(f"f{i}", int(rng.integers(50, 600))) for i in range(9)]
    ways = [[of_some(rng, files) for _ in range(5)] for _ in range(6)]
    cycles = [[int(c) for c in rng.integers(1000, 1400, 5)] for _ in ways]
    kept = [sorted(rng.permutation(5)[: rng.integers(1, 6)].tolist()) for _ in ways]
    fewer = SharedChoice.of(ways, cycles).among(kept)
    alone = SharedChoice.of(
        [[some[i] for i in numbers] for some, numbers in zip(ways, kept, strict=True)],
        [[some[i] for i in numbers] for some, numbers in zip(cycles, kept, strict=True)],
    )
    for price in (0.0, 0.2, 1.0):
        choice = alone.best(price)
        assert fewer.best(price) == choice
        assert fewer.flash_bytes(choice) == alone.flash_bytes(choice)


def of_some(rng: np.random.Generator, files: list[SourceFile]) -> Lowered:
    """A way with one to three files, the first of which has the kernel's name."""
    chosen = [files[i] for i in rng.permutation(len(files))[: rng.integers(1, 4)]]
    size_bytes = int(rng.integers(0, 400))
    return Lowered(chosen[0].name, "", tuple(chosen), "", "call();", size_bytes)


def by_whole_costs(shared: SharedChoice, price: float):
    """As `best`, but every move costs what the choice that it leads to costs."""

    def cost(choice):
        return shared.cycles(choice) + price * shared.flash_bytes(choice)

    def moves(choice):
        for op, some in enumerate(shared.options):
            yield from ((*choice[:op], i, *choice[op + 1 :]) for i in range(len(some)))
        yield from shared._moves_of_several(choice, price)

    choice = shared.fastest()
    while cost(best := min(moves(choice), key=cost)) < cost(choice):
        choice = best
    return choice


@pytest.mark.parametrize("seed", range(8))
def test_the_best_of_all_choices_within_a_budget_is_found(seed):
    rng = np.random.default_rng(seed)
    kernels = [way(f"k{i}", int(rng.integers(50, 600))) for i in range(6)]
    ways = [[kernels[i] for i in rng.permutation(6)[:3]] for _ in range(6)]
    cycles = [[float(c) for c in rng.integers(1000, 1400, 3)] for _ in range(6)]
    shared = SharedChoice.of(ways, cycles)
    choices = list(itertools.product(range(3), repeat=6))
    smallest = smallest_choice(shared)
    least, most = (
        shared.flash_bytes(choice)
        for choice in (min(choices, key=shared.flash_bytes), shared.fastest())
    )
    assert shared.flash_bytes(smallest) == least
    for budget in np.linspace(least, most, 5).astype(int).tolist():
        for price in (0, 1):

            def cost(choice, price=price):
                return shared.cycles(choice) + price * shared.flash_bytes(choice)

            fitting = [choice for choice in choices if shared.flash_bytes(choice) <= budget]
            found = cheapest_within(shared, budget, price, smallest)
            assert shared.flash_bytes(found) <= budget
            assert cost(found) == min(map(cost, fitting))


def offered(*ways: tuple[str, int, int]) -> list[tuple[str, int, int]]:
    """Of ways (kernel, cycles, scratch)."""
    return near_fastest(ways, lambda w: w[0], lambda w: w[1], lambda w: w[2])


def test_near_ways_one_a_kernel_the_fastest_first():
    ways = [("slow", 200), ("near", 110), ("fast", 120), ("fast", 100), ("near", 105)]
    found = offered(*((kernel, cycles, 64) for kernel, cycles in ways))
    assert found == [("fast", 100, 64), ("near", 105, 64)]
    assert offered() == []


def test_slower_ways_are_offered_for_clearly_less_scratch():
    a, b, c, d = ("x", 100, 1000), ("x", 120, 990), ("y", 150, 500), ("x", 160, 500)
    e, f = ("y", 400, 100), ("z", 110, 2000)
    assert offered(f, e, d, c, b, a) == [a, f, c, e]


@pytest.mark.parametrize("network", [resnet8, mobilenet])
def test_flash_is_bought_at_no_more_than_its_price(network):
    # How much there is to share depends on the widths: fastest kernels may happen to be the same.
    saved = [saved_at_its_price(network(bits)) for bits in (2, 4, 8)]
    assert all(saved_bytes > 0 for saved_bytes in saved)
    assert sum(saved) > 3 * 1000


def saved_at_its_price(graph):
    """Bytes of flash that sharing saves; that it costs no more cycles than they are worth."""
    any_arena = Target(arena_bytes=1 << 20)  # flash alone decides
    shared, alone = plan(graph, target=any_arena), plan_of_fastest(graph)
    saved_bytes = estimated_bytes(alone) - estimated_bytes(shared)
    lost = shared.predicted_cycles / alone.predicted_cycles - 1
    assert lost <= FLASH_PRICE * saved_bytes / 1024
    return saved_bytes


def plan_of_fastest(graph):
    """Each operator by itself: with a family that has but the one way for it."""
    ways = {op.name: choose(op, graph.tensors) for op in graph.ops}
    return plan(graph, (lambda op, tensors, target: (ways[op.name],),))


def estimated_bytes(planned) -> int:
    files = {file.name: file for step in planned.steps for file in step.lowered.files}
    constants = sum(step.lowered.weights_bytes + CALL_BYTES for step in planned.steps)
    return constants + sum(map(code_bytes, files.values()))


def test_budget_of_flash_is_kept_or_refused_with_the_bytes_that_are_missing():
    graph = resnet8(4)
    free = estimated_bytes(plan(graph))
    tight = plan(graph, target=Target(flash_bytes=free - 2500))
    assert estimated_bytes(tight) <= free - 2500
    assert plan(graph, target=Target(flash_bytes=free)).predicted_cycles <= tight.predicted_cycles
    weights = sum(op.weight.size * op.w_bits // 8 for op in graph.layers)
    with pytest.raises(FitError, match="more than the budget") as caught:
        plan(graph, target=Target(flash_bytes=weights))
    assert caught.value.memory == "flash"
    assert "conv3_2 " in str(caught.value)  # the layer with most weights
    assert 0 < caught.value.overflow_bytes < estimated_bytes(tight) - weights


@pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")
@pytest.mark.parametrize(
    ("network", "bits"), [(resnet8, 8), (resnet8, 4), (resnet8, 2), (mobilenet, 4), (mobilenet, 2)]
)
def test_estimated_code_is_near_what_the_compiler_makes(network, bits):
    board = load_board(DEFAULT_BOARD)
    sources = generate(network(bits))
    files = [file for file in sources.files if not file.name.startswith(("layer_", "model."))]
    objects = compile_objects(find_toolchain(), files, BuildFlags().arguments(board), user_cache())
    done = subprocess.run(
        ["arm-none-eabi-size", *map(str, objects.paths)], capture_output=True, text=True, check=True
    )
    compiled = sum(int(line.split()[0]) for line in done.stdout.splitlines()[1:])
    assert sum(map(code_bytes, files)) == pytest.approx(compiled, rel=0.12)
