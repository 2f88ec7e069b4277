"""Figures say what they show: labels, units, origin of the rows."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from mcuq_lab.figures import (
    arena_figure,
    claimed_memory_figure,
    claimed_speed_figure,
    hypervolume_figure,
    layer_figure,
    memory_figure,
    networks_figure,
    packing_figure,
    packing_limit_figure,
    pareto_figure,
    policy_figure,
    published_figure,
    speedup_figure,
)
from mcuq_lab.figures.pareto import front_mask
from mcuq_lab.frames import packing_frame, packing_limit_frame
from mcuq_lab.liteengine.packing.polynomial import SMLAL, Family, Packing, packings


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


def test_pareto_says_how_many_policies_lie_below_its_axes(rows):
    near = rows.assign(accuracy=0.8 + rows["accuracy"] / 10)
    far = near.assign(accuracy=near["accuracy"].where(near.index > 0, 0.1))
    assert "not shown" not in pareto_figure(near, float_accuracy=0.9).get_supxlabel()
    figure = pareto_figure(far, float_accuracy=0.9)
    bottom = figure.axes[0].get_ylim()[0]
    assert 60 < bottom < 100 * near["accuracy"].min()
    assert f"1 below {bottom:.0f} % not shown" in figure.get_supxlabel()


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
    figure = hypervolume_figure(frame, board="nucleo_f412zg", simulated=True, remark="from a table")
    assert figure.get_supxlabel() == "nucleo_f412zg (simulated); from a table"
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [0.2, 0.3])
    assert len(axes.collections) == 1
    assert legend_texts(figure)[0] == "rlquant (3 seeds)"


def test_of_a_known_whole_the_missing_part_is_drawn():
    frame = pd.DataFrame(
        {
            "method": "rlquant",
            "seed": 0,
            "evaluation": [1, 2, 3],
            "seconds": [1.0, 2.0, 3.0],
            "hypervolume": [0.1, 0.19, 0.2],
        }
    )
    figure = hypervolume_figure(frame, board="nucleo_f412zg", simulated=True, most=0.2)
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [0.5, 0.05, 1e-5])
    assert axes.get_yscale() == "log"


def test_policy_heat_map_has_a_row_for_each_layer():
    figure = policy_figure([[(8, 4), (2, 3)]] * 5, ["stem", "fc"])
    weights, activations = (axes.images[0].get_array() for axes in figure.axes[:2])
    assert weights.shape == (2, 5)
    assert (weights[:, 0] == [8, 2]).all()
    assert (activations[:, 0] == [4, 3]).all()


@pytest.fixture
def judged() -> pd.DataFrame:
    """One judgement a claim, of two networks."""
    rows = [
        {
            "model": model,
            "claim": claim,
            "against": against,
            "policy": "w4a4",
            "measured": measured,
            "low": low,
            "high": high,
        }
        for model in ("resnet8", "vgg_tiny")
        for claim, against, measured, low, high in (
            ("speed", "cmsis_nn", 4.5, 1.6, 3.0),
            ("peak SRAM", "cmsis_nn", 2.0, 1.5, 2.8),
            ("flash", "cmsis_nn", 0.7, 1.5, 2.8),
            ("accuracy", "float", -0.4, -1.0, None),
        )
    ]
    return pd.DataFrame(rows).assign(
        series="CMSIS-NN",
        setting="fastest",
        basis="fastest",
        board="b",
        simulated=True,
        sysclk_hz=16_000_000,
        flash_wait_states=0,
    )


def bands(axes) -> list[tuple[float, float]]:
    return [
        (patch.get_y(), patch.get_y() + patch.get_height())
        for patch in axes.patches
        if "claimed" in str(patch.get_label())
    ]


def test_claimed_ranges_are_shaded_behind_the_bars(judged):
    figure = claimed_speed_figure(judged)
    assert bands(figure.axes[0]) == [pytest.approx((1.6, 3.0))]
    bars = [bar.get_height() for container in figure.axes[0].containers for bar in container]
    assert bars == [4.5, 4.5]
    names = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert names[0] == "resnet8\nw4a4\n-0.4 points"
    assert legend_texts(figure) == ["claimed on the poster: 1.6 to 3x", "CMSIS-NN (simulated)"]
    memory = claimed_memory_figure(judged)
    assert [bands(axes) for axes in memory.axes] == [[pytest.approx((1.5, 2.8))]] * 2
    flash = [bar.get_height() for container in memory.axes[1].containers for bar in container]
    assert flash == [0.7, 0.7]
    with pytest.raises(ValueError, match="No judgement"):
        claimed_speed_figure(judged, settings=("w8a8",))


def test_networks_tell_trained_from_post_training(rows):
    frame = rows.assign(
        engine="liteengine",
        engine_label="LiteEngine",
        policy="w4a4",
        origin=["quantization-aware"] * 6 + ["post-training"] * 6,
        float_accuracy=0.9,
    )
    figure = networks_figure(frame)
    markers = [line for line in figure.axes[0].lines if line.get_marker() in ("o", "s")]
    hollow = [line.get_markerfacecolor() == "white" for line in markers]
    assert sorted(hollow) == [False] * 6 + [True] * 6
    below = (frame["accuracy"] < 0.65).sum()
    assert figure.axes[0].get_title(loc="right") == f"{below} more below 65 %"
    assert "hollow: quantized post-training" in legend_texts(figure)
    with pytest.raises(ValueError, match="accuracy"):
        networks_figure(frame.assign(accuracy=np.nan))


def test_labels_of_networks_keep_clear_of_each_other(rows):
    frame = rows.assign(
        engine="liteengine",
        engine_label="LiteEngine",
        policy=[f"w{bits}a8" for bits in (2, 3, 4, 5, 6, 7)] * 2,
        origin="post-training",
        float_accuracy=0.9,
        accuracy=0.89,
        cycles=rows["cycles"].iloc[0] + 1000 * np.arange(len(rows)),
    ).iloc[:6]
    (axes,) = networks_figure(frame).axes
    boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
    assert len(boxes) == 6
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_published_latencies_stand_beside_rows_with_wait_states(rows):
    frame = rows.iloc[[0]].assign(flash_wait_states=3, sysclk_hz=100_000_000)
    published = pd.DataFrame(
        {
            "board": ["NUCLEO-X"],
            "core": ["cortex-m4"],
            "clock_mhz": [120],
            "stack": ["engine"],
            "round": ["v1.0"],
            "latency_ms": [165.0],
            "cycles": [19_800_000],
        }
    )
    figure = published_figure(frame, published, source="somewhere", caveat="real boards")
    axes = figure.axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert "165 ms (19.8 M cycles)" in texts
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[0] == "engine, NUCLEO-X, cortex-m4, 120 MHz, v1.0"
    assert "simulated" in names[1]
    assert "real boards" in figure.get_supxlabel()
    dotted = {line.get_linestyle() for line in axes.lines if line.get_color() == "#D55E00"}
    assert ":" in dotted
    with pytest.raises(ValueError, match="wait states"):
        published_figure(rows.iloc[[0]], published, source="", caveat="")
    two = pd.concat([frame, frame.assign(model="vgg_tiny")])
    with pytest.raises(ValueError, match="one network"):
        published_figure(two, published, source="", caveat="")


def test_packed_fields_stand_at_their_bits_and_name_their_products():
    weight = np.full((1, 3, 8), 3)
    wanted = Packing(Family.ROW, SMLAL, (0, 12, 24), ((0, 12, 24),), (0, 1, 2), False)
    assert wanted in set(packings(Family.ROW, weight, 3, (SMLAL,)))
    frame = packing_frame(wanted, w_bits=3, a_bits=3)
    sums = frame[frame["register"] == "accumulator"].set_index("low")
    assert sums["label"].to_dict() == {
        0: "a0 w0",
        12: "a1 w0 + a0 w1",
        24: "a2 w0 + a1 w1 + a0 w2",
        36: "a2 w1 + a1 w2",
        48: "a2 w2",
    }
    assert sums["bits"].tolist() == [12, 12, 12, 12, 16]
    (axes,) = packing_figure(frame).axes
    texts = {text.get_text(): text.get_position() for text in axes.texts}
    assert texts["a2 w0 + a1 w1 + a0 w2"] == (30.0, 0.35)
    assert axes.get_xlim() == (64, 0)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [
        "accumulator",
        "weights",
        "activations",
    ]


def test_limits_of_all_widths_fall_with_the_bits():
    weight = np.random.default_rng(0).integers(-128, 128, size=(2, 3, 3, 4))
    frame = packing_limit_frame(weight, most=4)
    assert len(frame) == 49
    rates = frame.pivot(index="w_bits", columns="a_bits", values="macs_per_cycle")
    assert rates.loc[2, 2] == rates.max().max()
    assert rates.loc[8, 8] == rates.min().min()
    axes = packing_limit_figure(frame).axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert texts[0] == f"{rates.loc[2, 2]:.1f}\n{frame['operands'][0]}"
    assert len(texts) == 49
