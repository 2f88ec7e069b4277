"""Figures say what they show: labels, units, origin of the rows."""

import numpy as np
import pandas as pd
import pytest

from mcuq_lab.figures import (
    arena_figure,
    hypervolume_figure,
    layer_figure,
    memory_figure,
    pareto_figure,
    policy_figure,
    speedup_figure,
)
from mcuq_lab.figures.pareto import front_mask


@pytest.fixture
def rows() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = 12
    return pd.DataFrame(
        {
            "series": ["RLQuant"] * 6 + ["uniform"] * 6,
            "simulated": [True] * 9 + [False] * 3,
            "board": "nucleo_f412zg",
            "sysclk_hz": 16_000_000,
            "flash_wait_states": 0,
            "model": "resnet8",
            "accuracy": rng.uniform(0.5, 0.9, n),
            "cycles": rng.integers(4e6, 2e7, n),
            "sram_peak_bytes": rng.integers(1e4, 5e4, n),
            "flash_total_bytes": rng.integers(3e4, 9e4, n),
        }
    )


def legend_texts(figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_pareto_never_mixes_simulated_and_measured(rows):
    figure = pareto_figure(rows, float_accuracy=0.9)
    assert sorted(legend_texts(figure)) == [
        "RLQuant (simulated)",
        "uniform (measured)",
        "uniform (simulated)",
    ]
    labels = [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes]
    assert labels[0] == ("latency (ms)", "top-1 accuracy (%)")
    assert labels[2] == ("latency (ms)", "peak SRAM (KiB)")
    assert "16 MHz" in figure.get_supxlabel()


def test_pareto_latency_is_cycles_over_clock(rows):
    only = rows[rows["series"] == "RLQuant"]
    offsets = np.concatenate(
        [points.get_offsets() for points in pareto_figure(only).axes[0].collections]
    )
    np.testing.assert_allclose(sorted(offsets[:, 0]), sorted(only["cycles"] / 16e3))


def test_pareto_refuses_rows_without_what_it_draws(rows):
    with pytest.raises(ValueError, match="sram_peak_bytes"):
        pareto_figure(rows.drop(columns="sram_peak_bytes"))


def test_front_mask_against_brute_force():
    rng = np.random.default_rng(1)
    cost, gain = rng.integers(0, 9, 60), rng.integers(0, 9, 60)
    mask = front_mask(cost, gain)
    for i in range(60):
        better = (cost <= cost[i]) & (gain >= gain[i]) & ((cost < cost[i]) | (gain > gain[i]))
        assert not (mask[i] and better.any())
    kept = set(zip(cost[mask], gain[mask], strict=True))
    assert len(kept) == mask.sum()
    for i in range(60):
        better = (cost <= cost[i]) & (gain >= gain[i]) & ((cost < cost[i]) | (gain > gain[i]))
        assert better.any() or (cost[i], gain[i]) in kept


def test_speedup_is_the_ratio_of_cycles():
    frame = pd.DataFrame(
        {
            "series": ["CMSIS-NN", "w4a4"],
            "simulated": True,
            "board": "b",
            "sysclk_hz": 1,
            "flash_wait_states": 0,
            "model": "resnet8",
            "cycles": [34.5e6, 6.9e6],
        }
    )
    figure = speedup_figure(frame, baseline="CMSIS-NN")
    assert [bar.get_height() for bar in figure.axes[0].patches] == pytest.approx([1, 5])
    with pytest.raises(ValueError, match="no row for: resnet8"):
        speedup_figure(frame[1:], baseline="CMSIS-NN")


def test_memory_bars_are_kib(rows):
    frame = rows.iloc[[0, 6]]
    heights = [bar.get_height() for bar in memory_figure(frame).axes[0].patches]
    assert heights == pytest.approx(list(frame["sram_peak_bytes"] / 1024))


def test_layers_and_arena():
    frame = pd.DataFrame(
        {
            "name": ["a", "b"],
            "op": "Conv2d",
            "policy": ["w4a4", "w2a2"],
            "packing": ["row polynomial m=3 s=13", ""],
            "macs": [1000, 0],
            "cycles": [500, 100],
        }
    )
    figure = layer_figure(frame, board="nucleo_f412zg", simulated=True)
    texts = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert texts[0] == "a  w4a4  [row polynomial m=3 s=13]"
    assert "simulated" in figure.get_supxlabel()
    buffers = pd.DataFrame(
        {
            "name": ["x"],
            "kind": ["tensor"],
            "offset_bytes": [1024],
            "size_bytes": [2048],
            "first_step": [0],
            "last_step": [1],
        }
    )
    (box,) = arena_figure(buffers, total_bytes=4096).axes[0].patches
    assert (box.get_y(), box.get_height(), box.get_width()) == (1, 2, 2)


def test_hypervolume_band_and_median():
    frame = pd.DataFrame(
        {
            "method": "rlquant",
            "seed": [0, 0, 1, 1, 2, 2],
            "evaluation": [1, 2] * 3,
            "seconds": [1.0, 2.0] * 3,
            "hypervolume": [0.1, 0.2, 0.2, 0.3, 0.6, 0.9],
        }
    )
    axes = hypervolume_figure(frame).axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [0.2, 0.3])
    assert len(axes.collections) == 1
    assert axes.get_legend().get_texts()[0].get_text() == "rlquant (3 seeds)"


def test_policy_heat_map_has_a_row_for_each_layer():
    figure = policy_figure([[(8, 4), (2, 3)]] * 5, ["stem", "fc"])
    weights, activations = (axes.images[0].get_array() for axes in figure.axes[:2])
    assert weights.shape == (2, 5)
    assert (weights[:, 0] == [8, 2]).all()
    assert (activations[:, 0] == [4, 3]).all()
