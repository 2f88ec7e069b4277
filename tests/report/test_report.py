"""From rows to figures and a summary page, without a board."""

import pytest

from mcuq_lab.errors import ConfigError
from mcuq_lab.report import front_of, make_report, write_report
from mcuq_lab.results import Row, append_rows, create_run, write_atomically
from mcuq_lab.rlquant import SearchConfig, hypervolume_frame

REFERENCE = (
    b'{"reference": {"error": 0.5, "cycles": 2000000.0, "sram_peak_bytes": 60000.0}, '
    b'"float_accuracy": 0.9, "layers": ["stem", "fc"], "policy": "w8a8"}'
)


def row(number, policy, accuracy, cycles, sram, status="ok", engine="liteengine"):
    ok = status == "ok"
    return Row(
        evaluation=number,
        model="resnet8",
        data="digits",
        board="nucleo_f412zg",
        engine=engine,
        policy=policy,
        origin="agent",
        status=status,
        simulated=True,
        cycles_median=cycles if ok else None,
        sysclk_hz=16_000_000,
        flash_wait_states=0,
        sram_peak_bytes=sram if ok else None,
        flash_total_bytes=50_000 if ok else None,
        accuracy_quick=accuracy if ok else None,
        elapsed_s=float(number),
    )


@pytest.fixture
def run(tmp_path):
    run_dir = create_run(
        kind="search", model="resnet8", data="digits", board="nucleo_f412zg", method="rlquant",
        seed=3, config=SearchConfig().to_json(), root=tmp_path,
    )  # fmt: skip
    write_atomically(run_dir / "reference.json", REFERENCE)
    rows = [
        row(0, ((8, 8), (8, 8)), 0.90, 1_800_000, 50_000),
        row(1, ((4, 4), (8, 2)), 0.88, 900_000, 30_000),
        row(2, ((2, 2), (2, 2)), 0, 0, 0, status="timeout"),
        row(3, ((4, 4), (8, 8)), 0.80, 1_000_000, 40_000),
    ]
    append_rows(run_dir, rows)
    return run_dir


@pytest.fixture
def baseline(tmp_path):
    run_dir = create_run(
        kind="baseline", model="resnet8", data="digits", board="nucleo_f412zg",
        method="cmsis_nn", seed=0, config={}, root=tmp_path,
    )  # fmt: skip
    append_rows(run_dir, [row(0, ((8, 8), (8, 8)), 0.9, 1_900_000, 55_000, engine="cmsis_nn")])
    return run_dir


def test_the_front_leaves_out_failures_and_the_dominated(run):
    front = front_of(run)
    assert list(front["policy"]) == ["w4a4,w8a2", "w8a8"]
    assert list(front["cycles"]) == [900_000, 1_800_000]


def test_hypervolume_never_falls_and_counts_failures_as_evaluations(run):
    frame = hypervolume_frame(run)
    assert list(frame["evaluation"]) == [1, 2, 3, 4]
    assert frame["hypervolume"].is_monotonic_increasing
    assert frame["hypervolume"].iloc[1] == frame["hypervolume"].iloc[2] > 0


def test_series_tell_search_uniform_and_baseline_apart(run, baseline):
    figure = make_report(run, [baseline]).figures["pareto"]
    texts = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    assert texts == {
        "LiteEngine, uniform (simulated)",
        "LiteEngine, RLQuant (simulated)",
        "CMSIS-NN (re-implementation), w8a8 (simulated)",
    }


def test_the_page_and_its_pictures_are_written(run, baseline):
    written = write_report(run, [baseline])
    assert {path.name for path in written} == {
        "pareto.png", "pareto.svg", "hypervolume.png", "hypervolume.svg", "policies.png",
        "policies.svg", "summary.md",
    }  # fmt: skip
    text = (run / "summary.md").read_text()
    assert "| w4a4,w8a2 | 88.0 % | 900,000 | 30,000 | 50,000 |" in text
    assert "seed 3" in text


def rival_of(run, tmp_path, reference=REFERENCE, data="digits"):
    run_dir = create_run(
        kind="search", model="resnet8", data=data, board="nucleo_f412zg", method="random",
        seed=0, config=SearchConfig(method="random").to_json(), root=tmp_path,
    )  # fmt: skip
    write_atomically(run_dir / "reference.json", reference)
    append_rows(run_dir, [row(0, ((8, 8), (8, 8)), 0.90, 1_800_000, 50_000)])
    return run_dir


def test_rivals_are_drawn_in_the_hypervolume_figure(run, tmp_path):
    figure = make_report(run, rivals=[rival_of(run, tmp_path)]).figures["hypervolume"]
    labels = [line.get_label() for line in figure.axes[0].get_lines()]
    assert labels == ["RLQuant", "random"]


@pytest.mark.parametrize(
    "difference", [{"data": "cifar10"}, {"reference": REFERENCE.replace(b"60000.0", b"50000.0")}]
)
def test_rivals_must_have_searched_the_same_problem(run, tmp_path, difference):
    with pytest.raises(ConfigError, match="another problem"):
        make_report(run, rivals=[rival_of(run, tmp_path, **difference)])


def test_a_run_without_a_row_says_so(tmp_path):
    run_dir = create_run(
        kind="search", model="resnet8", data="digits", board="nucleo_f412zg", method="rlquant",
        seed=0, config={}, root=tmp_path,
    )  # fmt: skip
    with pytest.raises(ConfigError, match="no successful row"):
        make_report(run_dir)
