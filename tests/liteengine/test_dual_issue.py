"""Assembly ordered for the Cortex-M7: same results as in the order it was written, fewer cycles."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

from mcuq_lab.layer_grammar import LayerBits, layer_network
from mcuq_lab.liteengine import generate, trial_sources, trials
from mcuq_lab.liteengine.dual_issue import schedule_lines
from mcuq_lab.liteengine.kernels import PACKED_FAMILIES
from mcuq_lab.liteengine.kernels.compact import lower_compact
from mcuq_lab.liteengine.kernels.fullyconnected import lower_fullyconnected_bytes
from mcuq_lab.liteengine.kernels.halves import lower_halves
from mcuq_lab.liteengine.kernels.row_polynomial import (
    lower_depthwise_row,
    lower_row_polynomial,
    lower_vertical,
)
from mcuq_lab.liteengine.thumb import parse
from mcuq_lab.sources import SourceFile
from mcuq_lab.target import Target
from tests.support.simulated_core import Core, build_image, has_toolchain, run_on_core

SEQUENCES, LENGTH, STATE_WORDS = 30, 40, 24
M7 = Target(core="cortex-m7")

# Accesses to several registers are alone in their cycles anyway; VLDR stands in no loop.
PLACED = {
    *("push", "pop", "vpush", "vpop", "ldm", "ldmia", "stmia", "vldmia", "vldr", "ldrd", "strd"),
    *("b.w", "bne.w", "beq.n", "beq.w"),
}

needs_toolchain = pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")


def _instruction(rng: random.Random) -> str:
    d, n, m, a = rng.sample([f"r{i}" for i in range(1, 12)], 4)
    place, amount = f"[r0, #{4 * rng.randrange(STATE_WORDS)}]", rng.randrange(1, 31)
    return rng.choice(
        (
            f"ldr {d}, {place}",
            f"ldrb {d}, {place}",
            f"str {d}, {place}",
            f"strh {d}, {place}",
            f"smlal {d}, {n}, {m}, {a}",
            f"smull {d}, {n}, {m}, {a}",
            f"smlad {d}, {n}, {m}, {d}",
            f"smmla {d}, {d}, {n}, {m}",
            f"usat {d}, #8, {d}, asr #{amount}",
            f"ubfx {d}, {n}, #3, #{amount - 2 if amount > 2 else 1}",
            f"bfi {d}, {n}, #{amount}, #1",
            f"orr {d}, {n}, {m}, lsl #{amount}",
            f"lsr {d}, {n}, #{amount}",
            f"mov {d}, {n}, lsr #{amount}",
            f"pkhbt {d}, {n}, {m}, lsl #16",
            f"add {d}, {n}",
            f"adds {d}, {n}, {m}",
            f"adc {d}, {n}, #0",
            f"adcs.w {d}, {n}, {m}",
            f"rrxs {d}, {n}",
            f"rrx {d}, {n}",
            f"cmp {n}, {m}",
            f"vmov s{rng.randrange(4)}, {n}",
            f"vmov {d}, s{rng.randrange(4)}",
            f"uxtb16 {d}, {n}",
        )
    )


def _function(name: str, lines: list[str]) -> str:
    registers = [f"r{i}" for i in range(1, 12)]
    saved = [f"str {register}, [r0, #{4 * i}]" for i, register in enumerate(registers)]
    load = [f"ldr {register}, [r0, #{4 * i}]" for i, register in enumerate(registers)]
    moved = [f"vmov s{i}, r{i + 1}" for i in range(4)]
    text = [
        *load,
        *moved,
        "cmp r1, r2",
        *lines,
        "add r0, #96",
        *saved,
        "mrs r1, apsr",
        "str r1, [r0, #44]",
    ]
    text += [f"vstr s{i}, [r0, #{48 + 4 * i}]" for i in range(4)]
    body = "".join(f'"{line}\\n"' for line in [*text, "bkpt 0"])
    return f"__attribute__((naked)) void {name}(void) {{ __asm__ volatile({body}); }}\n"


@needs_toolchain
def test_random_sequences_leave_the_same_registers_flags_and_memory():
    rng = random.Random(7)
    written = [[_instruction(rng) for _ in range(LENGTH)] for _ in range(SEQUENCES)]
    ordered = [schedule_lines(lines) for lines in written]
    assert all(map(parse, (line for lines in written for line in lines)))
    assert sum(a != b for a, b in zip(written, ordered, strict=True)) > SEQUENCES // 2
    names = [(f"written{i}", f"ordered{i}") for i in range(SEQUENCES)]
    source = "".join(
        _function(name, lines)
        for pair, orders in zip(names, zip(written, ordered, strict=True), strict=True)
        for name, lines in zip(pair, orders, strict=True)
    )
    entries = tuple(name for pair in names for name in pair)
    core = Core(build_image((SourceFile("sequences.c", source),), entries), "cortex-m7")
    place, size = 0x20001000, 96 + 64
    for number, pair in enumerate(names):
        start = np.random.default_rng(number).bytes(size)
        left = []
        for name in pair:
            core.write(place, start)
            core.call(name, place)
            left.append(core.read(place, size))
        assert left[0] == left[1], written[number]


def test_labels_branches_and_conditional_instructions_stay():
    lines = ["1:", "ldr r2, [r0]", "cmp r2, #0", "itt ne", "ldrbne r1, [r3]", "orrne r0, r1, r0"]
    lines += ["add r3, r4", "bne.w 1b"]
    assert schedule_lines(lines) == lines


@pytest.mark.parametrize("name", ["c3_8x64_64", "c3s2_8x16_16", "c1_8x32_64", "dw_12x16"])
def test_only_branches_and_multiple_accesses_of_tiles_are_not_known(name):
    left = {
        line[len('        "') :].split()[0]
        for trial in trials(layer_network(name, LayerBits(2, 2)), {}, PACKED_FAMILIES)
        for file in trial.way.files
        if "__attribute__((naked" in file.text
        for line in file.text.split("\n")
        if line.startswith('        "') and parse(line[len('        "') : -len('\\n"')]) is None
    }
    names = {name for name in left if not re.match(r"\d+:|\.p2align", name)}
    assert "push" in names
    assert names <= PLACED, names - PLACED


def test_loads_go_beside_products():
    loads = [f"ldr r{i}, [r0, #{4 * i}]" for i in (2, 3, 4, 5)]
    products = ["smlal r6, r7, r2, r4", "smlal r8, r9, r3, r5", "ldr r2, [r0, #24]"]
    ordered = schedule_lines([*loads, *products, "smlal r10, r11, r2, r3"])
    assert ordered.index("ldr r2, [r0, #24]") == ordered.index("smlal r6, r7, r2, r4") + 1


@needs_toolchain
@pytest.mark.parametrize(
    ("name", "bits", "family", "most_of_written"),
    [
        ("c3_8x16_16", LayerBits(8, 8), lower_row_polynomial, 0.80),
        ("c3_8x16_16", LayerBits(2, 2), lower_row_polynomial, 0.85),
        ("c3_7x13_6", LayerBits(4, 4), lower_row_polynomial, 0.85),
        ("c3_8x16_16", LayerBits(4, 4), lower_vertical, 0.90),
        ("c3s2_16x16_16", LayerBits(4, 4), lower_row_polynomial, 0.90),
        ("c1_8x16_32", LayerBits(4, 4), lower_halves, 0.90),
        ("c3_8x16_16", LayerBits(4, 4), lower_compact, 0.95),
        ("dw_12x16", LayerBits(4, 4), lower_depthwise_row, 1.0),
        ("fc_64_10", LayerBits(8, 8), lower_fullyconnected_bytes, 0.85),
    ],
)
def test_layers_are_exact_and_faster(name, bits, family, most_of_written):
    graph = layer_network(name, bits)
    stored = np.random.default_rng(3).integers(0, 256, (2, graph.input.size_bytes), np.uint8)
    written = run_on_core(generate(graph, (family,)), stored, "cortex-m7")
    ordered = run_on_core(generate(graph, (family,), target=M7), stored, "cortex-m7")
    np.testing.assert_array_equal(ordered.outputs, written.outputs)
    assert ordered.layer_cycles[0] <= most_of_written * written.layer_cycles[0]


@needs_toolchain
@pytest.mark.parametrize("name", ["c3_8x16_16", "c1_8x32_64", "dw_12x16", "c3s2_12x16_16"])
def test_estimates_are_near_what_the_core_takes(name):
    graph = layer_network(name, LayerBits(4, 4))
    found = trials(graph, {}, PACKED_FAMILIES, M7)
    stored = np.zeros((1, 8), np.uint8)
    cycles = run_on_core(trial_sources(found), stored, "cortex-m7").layer_cycles
    for trial, measured in zip(found, cycles, strict=True):
        assert 0.7 < trial.way.predicted_cycles / measured < 1.33, trial.way.kernel
