"""Several boards: the same rows as from one, even if a machine dies in mid-search."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest
from ray.exceptions import RayActorError

from mcuq_lab.bench import ProbeInfo
from mcuq_lab.errors import BoardError, ConfigError
from mcuq_lab.results import read_rows
from mcuq_lab.rlquant import cluster as clusters
from mcuq_lab.rlquant import fleet, new_run, run_search


def story(run_dir):
    return [
        (r.evaluation, r.policy, r.origin, r.status, r.accuracy_quick) for r in read_rows(run_dir)
    ]


class Handle(SimpleNamespace):
    """An actor as its user sees it."""

    __hash__ = object.__hash__


class StandIn:
    """Ray without processes: an actor is an object, a task runs when it is waited for.

    Args:
        boards: that the cluster has.
        deaths: numbers of the evaluations, from 0, of which the actor dies.
    """

    def __init__(self, boards: int, deaths=()):
        self.boards, self.deaths = boards, set(deaths)
        self.evaluations, self.killed = 0, 0

    def is_initialized(self):
        return True

    def cluster_resources(self):
        return {"nucleo_f412zg": float(self.boards)}

    available_resources = cluster_resources

    def remote(self, cls):
        return SimpleNamespace(
            options=lambda **_: SimpleNamespace(remote=lambda *a: self._actor(cls(*a)))
        )

    def _actor(self, made):
        def method(name):
            return SimpleNamespace(remote=lambda *a: partial(getattr(made, name), *a))

        return Handle(**{name: method(name) for name in ("look", "open", "call", "close")})

    def get_runtime_context(self):
        return SimpleNamespace(get_node_id=lambda: "here")

    def wait(self, pending, num_returns=1, timeout=None):
        # The last one first: rows must come back in their order all the same.
        return pending[-num_returns:], pending[:-num_returns]

    def get(self, task):
        if task.args[:1] == ("evaluate",):
            self.evaluations += 1
            if self.evaluations - 1 in self.deaths:
                raise RayActorError(error_msg="The actor died.")
        return task()

    def kill(self, actor):
        self.killed += 1


def use(stand_in, monkeypatch):
    for module in (clusters, fleet):
        monkeypatch.setattr(module, "ray", stand_in)


def run_with(stand_in, config, root, monkeypatch, **changes):
    use(stand_in, monkeypatch)
    run_dir = new_run(config("random", 20, **changes), root=root)
    return run_dir, run_search(run_dir)


def test_three_boards_of_which_some_die_give_the_rows_of_one(
    config, evaluator, tmp_path, monkeypatch
):
    alone = new_run(config("random", 20), root=tmp_path)
    run_search(alone, evaluator=evaluator)
    stand_in = StandIn(3, deaths=(2, 3, 9))
    together, progress = run_with(stand_in, config, tmp_path, monkeypatch, boards=3)
    assert progress.state == "done"
    assert story(together) == story(alone)
    assert stand_in.evaluations == 20 + 3
    assert stand_in.killed == 3 + 3  # the dead ones, and the three of the end


def test_a_policy_that_kills_every_board_is_a_row(config, tmp_path, monkeypatch):
    stand_in = StandIn(2, deaths=(1, 2, 3))
    run_dir, progress = run_with(stand_in, config, tmp_path, monkeypatch, boards=2)
    statuses = [row.status for row in read_rows(run_dir)]
    assert progress.failures == statuses.count("probe_error") == 1
    assert len(statuses) == 20


def test_fewer_boards_than_asked_for_are_refused_at_once(config, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"3 boards .* has 2, of which 2 are free"):
        run_with(StandIn(2), config, tmp_path, monkeypatch, boards=3)


@pytest.fixture
def opened(monkeypatch):
    """Ids of the probes that actors were told to open."""
    seen = []
    load = fleet.load_evaluator

    def load_and_note(config):
        seen.append(config.probe)
        return load(config)

    monkeypatch.setattr(fleet, "load_evaluator", load_and_note)
    return seen


SIMULATED = "sim:nucleo-f412zg:1, sim:nucleo-f412zg:2,sim:nucleo-f412zg:3"


def test_each_actor_gets_a_probe_of_its_own(config, opened, tmp_path, monkeypatch):
    run_with(StandIn(2), config, tmp_path, monkeypatch, boards=2, probe=SIMULATED)
    assert sorted(opened) == ["sim:nucleo-f412zg:1", "sim:nucleo-f412zg:2"]


def test_the_probe_of_an_actor_that_died_goes_to_the_next(config, opened, tmp_path, monkeypatch):
    stand_in = StandIn(3, deaths=(2, 3, 9))
    _, progress = run_with(stand_in, config, tmp_path, monkeypatch, boards=3, probe=SIMULATED)
    assert progress.state == "done"
    assert len(opened) == 3 + 3
    assert len(set(opened)) == 3


def real_probes(*uids):
    return lambda: tuple(ProbeInfo(uid, "ST-LINK", "stm32f412xg", simulated=False) for uid in uids)


def test_real_boards_are_told_apart_by_their_probes(config, opened, tmp_path, monkeypatch):
    monkeypatch.setattr(fleet, "find_probes", real_probes("066A", "066B", "066C"))
    run_with(StandIn(2), config, tmp_path, monkeypatch, boards=2, simulated=False)
    run_with(StandIn(1), config, tmp_path, monkeypatch, boards=1, simulated=False, probe="66C",
             ray_address="here")  # fmt: skip
    assert opened == ["066A", "066B", "066C"]


@pytest.mark.parametrize("changes", [{"probe": "066A,066B"}, {}])
def test_fewer_probes_than_boards_are_refused(changes, config, opened, tmp_path, monkeypatch):
    monkeypatch.setattr(fleet, "find_probes", real_probes("066A", "066B"))
    stand_in = StandIn(3)
    with pytest.raises(ConfigError, match=r"3 boards .* no probes but 066A, 066B"):
        run_with(stand_in, config, tmp_path, monkeypatch, boards=3, simulated=False, **changes)
    assert stand_in.killed == 3
    with pytest.raises(BoardError, match="No probe matches '066X'"):
        run_with(StandIn(2), config, tmp_path, monkeypatch, boards=2, simulated=False, probe="066X")


def test_without_a_real_board_simulated_ones_are_taken(config, opened, tmp_path, monkeypatch):
    monkeypatch.setattr(fleet, "find_probes", lambda: ())
    run_with(StandIn(2), config, tmp_path, monkeypatch, boards=2, simulated=False)
    assert opened == ["", ""]


def test_an_evaluator_that_cannot_be_made_fails_with_its_own_error(config, tmp_path, monkeypatch):
    made = config("random", boards=2)
    bad = type(made).from_json(made.to_json() | {"evaluator": "synthetic:nothing"})
    use(StandIn(2), monkeypatch)
    with pytest.raises(ConfigError, match="nothing"):
        run_search(new_run(bad, root=tmp_path))


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


@pytest.mark.alone  # Ray starts in a quarter of a minute, and on a busy machine not at all
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
