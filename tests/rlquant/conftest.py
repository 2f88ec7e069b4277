"""Makes `synthetic` importable for these tests and for the processes that they start."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = str(Path(__file__).parent)
sys.path.insert(0, HERE)

from synthetic import SyntheticEvaluator, residual_net  # noqa: E402

from mcuq_lab.rlquant import SearchConfig, quick_config  # noqa: E402


@pytest.fixture
def child_env(monkeypatch):
    """Environment of search processes: they find `synthetic`, and stay on one thread."""
    monkeypatch.setenv("PYTHONPATH", HERE)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return monkeypatch


@pytest.fixture(scope="session")
def evaluator() -> SyntheticEvaluator:
    return SyntheticEvaluator(residual_net())


@pytest.fixture
def config():
    """Builds a quick configuration on the synthetic objective."""

    def build(method: str, evaluations: int = 30, seed: int = 0, **changes) -> SearchConfig:
        return quick_config(
            model="synthetic",
            data="none",
            method=method,
            evaluations=evaluations,
            seed=seed,
            evaluator="synthetic:make_evaluator",
            **changes,
        )

    return build
