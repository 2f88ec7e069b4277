"""A search of a network and a data set that are the user's own, files in place of names."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mcuq_lab.errors import ConfigError
from mcuq_lab.models import import_module, save_dataset, save_network
from mcuq_lab.results import read_rows, read_run_info
from mcuq_lab.rlquant import LowerLevelConfig, SearchConfig, new_run, prolong, run_search
from mcuq_lab.rlquant.finals import FinalConfig, finalize
from tests.support.modules import small_module

pytestmark = pytest.mark.slow

SHAPE = (6, 10)  # neither square nor of three channels


def save(path, seed: int) -> None:
    torch.manual_seed(seed)
    graph = import_module(small_module(8), (1, *SHAPE), input_range=(-1.0, 1.0))
    save_network(path, graph, test_accuracy=0.4)


@pytest.fixture
def config(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    monkeypatch.chdir(tmp_path)
    network, data = "own_net.npz", "own_data.npz"
    save(network, seed=0)
    images = rng.integers(256, size=(220, *SHAPE), dtype=np.uint8)
    labels = (images.mean(axis=(1, 2)) * 3 // 256).astype(int)
    save_dataset(
        data,
        train_images=images[:180],
        train_labels=labels[:180],
        test_images=images[180:],
        test_labels=labels[180:],
    )
    lower = LowerLevelConfig(mode="none", threads=1)
    return SearchConfig(network, data, method="random", evaluations=3, lower_level=lower)


def test_it_is_searched_finished_and_told_by_its_own_name(config, tmp_path, monkeypatch):
    run = new_run(config, root=tmp_path / "runs")
    assert "-own_net-" in run.name
    assert run_search(run).state == "done"
    rows = read_rows(run)
    assert len(rows) == 3
    assert {(row.model, row.data, row.status) for row in rows} == {("own_net", "own_data", "ok")}
    assert all(row.bit_exact for row in rows)
    info = read_run_info(run)
    assert (info.model, info.data) == ("own_net", "own_data")

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (final,) = finalize(run, 1, FinalConfig(epochs=1))
    assert (final.model, final.status, final.bit_exact) == ("own_net", "ok", True)

    prolong(run, 4)
    save(tmp_path / config.model, seed=1)
    with pytest.raises(ConfigError, match="begun with another 'own_net'"):
        run_search(run)
    assert len(read_rows(run)) == 3
    with pytest.raises(ConfigError, match="begun with another 'own_net'"):
        finalize(run, 3, FinalConfig(epochs=1))
