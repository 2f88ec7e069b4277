"""Several boards: the same rows as from one, even if a machine dies in mid-search."""

from __future__ import annotations

import pytest

from mcuq_lab.errors import ConfigError
from mcuq_lab.results import read_rows
from mcuq_lab.rlquant import new_run, run_search

pytestmark = pytest.mark.slow  # Ray takes a quarter of a minute to start


def story(run_dir):
    return [
        (r.evaluation, r.policy, r.origin, r.status, r.accuracy_quick) for r in read_rows(run_dir)
    ]


@pytest.fixture
def cluster(child_env):
    """A head without boards, to which nodes with boards are added; Ray is connected to it."""
    import ray
    from ray.cluster_utils import Cluster

    child_env.setenv("RAY_AUTH_MODE", "disabled")
    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100 << 20}
    started = Cluster(initialize_head=True, head_node_args=head)
    ray.init(address=started.address, log_to_driver=False)
    yield started
    ray.shutdown()
    started.shutdown()


def test_a_machine_that_dies_in_mid_search_costs_nothing(
    config, evaluator, cluster, child_env, tmp_path
):
    log = tmp_path / "evaluated"
    child_env.setenv("SYNTHETIC_LOG", str(log))
    child_env.setenv("SYNTHETIC_SLEEP_S", "0.2")
    alone = new_run(config("random", 24), root=tmp_path)
    run_search(alone, evaluator=evaluator)
    node = {
        "num_cpus": 1,
        "resources": {"nucleo_f412zg": 1},
        "object_store_memory": 100 << 20,
    }
    nodes = [cluster.add_node(**node), cluster.add_node(**node)]

    with pytest.raises(ConfigError, match=r"3 boards .* the Ray cluster has 2"):
        run_search(new_run(config("random", boards=3), root=tmp_path))

    asked = []

    def kill_a_node_once() -> bool:
        asked.append(True)
        if len(asked) == 12:
            cluster.remove_node(nodes[1], allow_graceful=False)
        return False

    together = new_run(config("random", 24, boards=2), root=tmp_path)
    progress = run_search(together, should_stop=kill_a_node_once)
    assert progress.state == "done"
    assert len(asked) > 12
    assert story(together) == story(alone)
    evaluated = log.read_text().splitlines()
    # All rows but what the dead machine was at work on were evaluated once.
    assert 24 <= len(evaluated) <= 25
    assert len(set(evaluated)) == 24
