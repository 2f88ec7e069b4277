"""The best policies of a search: trained in full, scored on the test set, measured, exported."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mcuq_lab.errors import BoardError, ConfigError
from mcuq_lab.models import find_dataset
from mcuq_lab.quantize import QatConfig
from mcuq_lab.report import finals_of, make_report, write_report
from mcuq_lab.results import FINALS, Row, append_rows, create_run, read_rows, write_atomically
from mcuq_lab.rlquant import SearchConfig, finals
from mcuq_lab.rlquant.finals import FinalConfig, best_rows, finalize

N_LAYERS = 10
REFERENCE = (
    b'{"reference": {"error": 0.5, "cycles": 20000000.0, "sram_peak_bytes": 60000.0}, '
    b'"float_accuracy": 0.9, "layers": ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"], '
    b'"policy": "w8a8"}'
)


def row(number, width, accuracy, cycles, sram):
    return Row(
        evaluation=number, model="resnet8", data="digits", board="nucleo_f412zg",
        engine="liteengine", policy=((width, width),) * N_LAYERS, origin="agent", status="ok",
        simulated=True, cycles_median=cycles, sysclk_hz=16_000_000, flash_wait_states=0,
        sram_peak_bytes=sram, flash_total_bytes=100_000, accuracy_quick=accuracy,
    )  # fmt: skip


ROWS = [
    row(0, 8, 0.90, 16_000_000, 50_000),
    row(1, 4, 0.88, 7_000_000, 25_000),
    row(2, 5, 0.80, 9_000_000, 30_000),
    row(3, 3, 0.70, 6_000_000, 24_000),
]


def searched(root, **changes):
    run_dir = create_run(
        kind="search", model="resnet8", data="digits", board="nucleo_f412zg", method="rlquant",
        seed=0, config=SearchConfig(**changes).to_json(), root=root,
    )  # fmt: skip
    write_atomically(run_dir / "reference.json", REFERENCE)
    append_rows(run_dir, ROWS)
    return run_dir


def test_the_rows_that_cover_most_are_taken_first(tmp_path):
    run_dir = searched(tmp_path)
    assert [r.evaluation for r in best_rows(run_dir, 2)] == [1, 3]
    # Row 2 is dominated by row 1.
    assert {r.evaluation for r in best_rows(run_dir, 9)} == {0, 1, 3}


def test_only_rows_within_the_budgets_are_taken(tmp_path):
    run_dir = searched(tmp_path, budget_sram_bytes=24_500)
    assert [r.evaluation for r in best_rows(run_dir, 3)] == [3]
    with pytest.raises(ConfigError, match="resume the search"):
        best_rows(searched(tmp_path, budget_latency_ms=1.0), 3)


@pytest.fixture
def little_data(monkeypatch):
    """A hundredth of the training images; the training itself is the real one."""
    whole = find_dataset("digits")
    little = replace(
        whole,
        train_images=whole.train_images[:128],
        test_images=whole.test_images[:60],
        test_labels=whole.test_labels[:60],
    )
    monkeypatch.setattr(finals, "find_dataset", lambda text: little)
    monkeypatch.setattr(finals, "QatConfig", lambda **c: QatConfig(batch_size=64, **c))
    return little


@pytest.mark.slow
def test_a_policy_ends_trained_scored_measured_and_exported(tmp_path, little_data, monkeypatch):
    run_dir, seen = searched(tmp_path), []

    def unplugged(*_, **__):
        raise BoardError("unplugged")

    with monkeypatch.context() as broken:
        broken.setattr(finals, "measure_network", unplugged)
        with pytest.raises(BoardError, match="unplugged"):
            finalize(run_dir, 1, FinalConfig(epochs=1), seen.append)
    assert [(p.batches, p.of_batches) for p in seen] == [(1, 2), (2, 2)]
    assert not read_rows(run_dir / FINALS)

    # The training is not repeated.
    seen.clear()
    (final,) = finalize(run_dir, 1, FinalConfig(epochs=1), seen.append)
    assert not seen
    assert (final.status, final.message, final.bit_exact) == ("ok", "", True)
    assert (final.evaluation, final.policy) == (1, ROWS[1].policy)
    assert final.cycles_median > 1_000_000
    assert round(final.accuracy_full * 60) == pytest.approx(final.accuracy_full * 60)
    place = run_dir / FINALS / "0001"
    assert {path.name for path in (place / "export").iterdir()} >= {"model.c", "model.h"}
    assert (place / "state.npz").is_file()
    assert not (place / "training.pt").exists()

    assert finalize(run_dir, 1, FinalConfig(epochs=1), seen.append) == [final]
    assert len(read_rows(run_dir)) == len(ROWS)
    with pytest.raises(ConfigError, match="begun with 1 epochs"):
        finalize(run_dir, 1, FinalConfig(epochs=2))

    table = finals_of(run_dir)
    assert table["accuracy_search"].tolist() == [0.88]
    assert table["accuracy_test"].tolist() == [final.accuracy_full]
    legend = make_report(run_dir).figures["pareto"].legends[0].get_texts()
    assert any("trained in full (test set)" in text.get_text() for text in legend)
    summary = next(path for path in write_report(run_dir) if path.name == "summary.md")
    assert "| as searched | validation | test |" in summary.read_text()


@pytest.mark.slow
def test_what_does_not_fit_is_a_row_with_its_test_accuracy(tmp_path, little_data, monkeypatch):
    from mcuq_lab.errors import FitError

    def too_large(*_, **__):
        raise FitError("9 bytes too many", memory="sram", overflow_bytes=9)

    monkeypatch.setattr(finals, "measure_network", too_large)
    monkeypatch.setattr(finals, "quantization_aware_training", lambda graph, state, *_, **__: state)
    run_dir = searched(tmp_path)
    (final,) = finalize(run_dir, 1, FinalConfig(epochs=1))
    assert (final.status, final.message) == ("no_fit_sram", "9 bytes too many")
    assert np.isfinite(final.accuracy_full)
    assert finals_of(run_dir).empty
