"""The agent's algorithms, each with our mask, in this process: RLlib's PPO, DQN and SAC."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import SyntheticEvaluator, residual_net

from mcuq_lab.errors import ConfigError
from mcuq_lab.results import ReferencePoint
from mcuq_lab.rlquant import AgentConfig
from mcuq_lab.rlquant.agent import make_algorithm
from mcuq_lab.rlquant.budgets import Budgets
from mcuq_lab.rlquant.config import ALGORITHMS
from mcuq_lab.rlquant.costs import initial_costs
from mcuq_lab.rlquant.env import (
    MASK_WIDTH,
    PREFERENCE,
    BitWidthEnv,
    Episodes,
    Outcome,
    World,
    draw_preference,
)
from mcuq_lab.rlquant.replay import Replay, play
from mcuq_lab.rlquant.space import N_WIDTHS, SearchSpace

pytestmark = pytest.mark.slow  # importing ray.rllib takes seconds

GRAPH = residual_net(stages=2)
SPACE = SearchSpace(GRAPH)
COSTS = initial_costs(SPACE)
SMALLEST, LARGEST = (float(COSTS.cycles(SPACE.uniform(w, w))) for w in (2, 8))
REFERENCE = ReferencePoint(0.5, LARGEST, 6_000.0)
TIGHT = Budgets(cycles=SMALLEST + 0.2 * (LARGEST - SMALLEST))


def make_config(algorithm: str, **changes) -> AgentConfig:
    small = AgentConfig(algorithm, episodes_per_iteration=40, minibatch_size=100, rollouts=16)
    return replace(small, **changes)


def make(algorithm: str, seed: int = 3, **changes):
    return make_algorithm(make_config(algorithm, **changes), SPACE.n_layers, seed)


def make_world(budgets: Budgets = Budgets(), costs=COSTS) -> World:  # noqa: B008 (frozen)
    evaluator = SyntheticEvaluator(GRAPH)

    def judge(bits):
        return [Outcome(True, evaluator.true_accuracy(policy)) for policy in bits]

    return World(costs, budgets, REFERENCE, judge)


@pytest.fixture(scope="module")
def world():
    return make_world()


@pytest.fixture(scope="module", params=ALGORITHMS)
def trained(request, world):
    """One of each algorithm, after a little training."""
    algorithm = make(request.param)
    algorithm.enter(world, seed=1)
    algorithm.train()
    yield algorithm
    algorithm.stop()


def observations(world, n=4):
    return Episodes(world, draw_preference(np.random.default_rng(0), n)).observe()


def preferences(n, seed=0):
    return draw_preference(np.random.default_rng(seed), n)


def drawn_return(agent, world) -> float:
    """Mean return of policies that the agent draws, under the same preferences each time."""
    episodes, rng, total = Episodes(world, preferences(64)), np.random.default_rng(0), 0.0
    while not episodes.done:
        total = total + episodes.step(agent.draw(episodes.observe(), rng))
    return float((total + episodes.judge()).mean())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_training_raises_the_return_without_a_ray_cluster(algorithm, world):
    import ray

    agent = make(algorithm, minibatch_size=250)
    before = drawn_return(agent, world)
    agent.enter(world, seed=1)
    for _ in range(12):
        agent.train()
    assert drawn_return(agent, world) > before + 0.03
    assert not ray.is_initialized()
    agent.stop()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_the_mask_closes_is_never_drawn(data, trained, world):
    half = st.lists(st.booleans(), min_size=N_WIDTHS, max_size=N_WIDTHS).filter(any)
    seed = data.draw(st.integers(0, 2**32 - 1))
    masks = np.array([data.draw(half) + data.draw(half) for _ in range(8)])
    seen = observations(world, 8)
    seen[:, -MASK_WIDTH:] = masks
    actions = trained.draw(seen, np.random.default_rng(seed))
    assert masks[np.arange(8), actions[:, 0]].all()
    assert masks[np.arange(8), N_WIDTHS + actions[:, 1]].all()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_training_under_tight_budgets_keeps_them_and_stays_finite(algorithm):
    world = make_world(TIGHT)
    agent = make(algorithm)
    agent.enter(world, seed=1)
    returns = [agent.train() for _ in range(4)]
    assert np.isfinite(returns).all()
    episodes = Episodes(world, preferences(32))
    while not episodes.done:
        seen = episodes.observe()
        actions = agent.draw(seen, np.random.default_rng(episodes.layer))
        masks = seen[:, -MASK_WIDTH:] > 0.5
        assert masks[np.arange(32), actions[:, 0]].all()
        assert masks[np.arange(32), N_WIDTHS + actions[:, 1]].all()
        episodes.step(actions)
    assert TIGHT.keeps(COSTS, episodes.bits).all()
    agent.stop()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_restored_agent_learns_on_as_the_original_would(algorithm, world):
    first, second = make(algorithm), make(algorithm)
    first.enter(world, seed=1)
    first.train()
    second.restore(pickle.loads(pickle.dumps(first.state())))
    seen = observations(world)
    assert (first.logits(seen) == second.logits(seen)).all()
    # Another world, as the next round brings one: the surrogate has learnt.
    other = replace(
        world, judge=lambda bits: [Outcome(True, policy.mean() / 10) for policy in bits]
    )
    returns = []
    for agent in (first, second):
        agent.enter(other, seed=2)
        returns.append([agent.train(), agent.train()])
    assert returns[0] == returns[1]
    assert (first.logits(seen) == second.logits(seen)).all()
    for agent in (first, second):
        agent.stop()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_equal_seeds_learn_alike_and_others_do_not(algorithm, world):
    logits = []
    for seed in (5, 5, 6):
        agent = make(algorithm, seed=seed)
        agent.enter(world, seed=seed)
        agent.train()
        logits.append(agent.logits(observations(world)))
        agent.stop()
    assert (logits[0] == logits[1]).all()
    assert (logits[0] != logits[2]).any()


def test_an_unknown_algorithm_is_refused():
    with pytest.raises(ConfigError, match="ppo, dqn, sac"):
        AgentConfig(algorithm="ddpg")


def test_the_environment_and_the_replay_pay_the_same(world):
    rng = np.random.default_rng(1)
    actions = rng.integers(N_WIDTHS, size=(SPACE.n_layers, 3, 2))
    played = play(world, preferences(3), lambda _, layer: actions[layer])
    env = BitWidthEnv()
    env.enter(world, seed=0)
    for i, preference in enumerate(preferences(3)):
        seen, _ = env.reset(options={"preference": preference})
        total = 0.0
        for layer in range(SPACE.n_layers):
            np.testing.assert_array_equal(seen, played.observations[i, layer])
            seen, reward, ended, _, info = env.step(actions[layer, i])
            total += reward
        assert ended
        np.testing.assert_array_equal(info["bits"], played.bits[i])
        assert played.returns[i] == pytest.approx(total)


@pytest.mark.parametrize("steps", [1, 3, 100])
def test_hindsight_pays_what_the_policy_is_worth_under_the_other_preference(steps, world):
    def choose(seen, layer):
        return np.full((len(seen), 2), layer % 7)

    replay = Replay(10, steps, hindsight=True)
    replay.add(play(world, preferences(1), choose))
    batch = replay.sample(200, np.random.default_rng(2))
    others = batch.observations[:, PREFERENCE]
    np.testing.assert_array_equal(others, batch.next_observations[:, PREFERENCE])
    truth = play(world, others.astype(float), choose)
    every = np.arange(200)
    first = (truth.observations == batch.observations[:, None]).all(axis=2).argmax(axis=1)
    last = np.minimum(first + steps, SPACE.n_layers)
    added = truth.totals[every, last] - truth.totals[every, first]
    np.testing.assert_allclose(batch.rewards, -(others * added).sum(axis=1), atol=1e-6)
    np.testing.assert_array_equal(batch.next_observations, truth.observations[every, last])
    np.testing.assert_array_equal(batch.ends, last == SPACE.n_layers)
    np.testing.assert_array_equal(batch.actions, truth.actions[every, first])


def test_the_replay_forgets_the_oldest_and_is_worked_out_anew_in_another_world(world):
    def constant(width):
        return lambda seen, layer: np.full((len(seen), 2), width)

    replay = Replay(6, 1, hindsight=False)
    for width in (0, 3, 6):
        replay.add(play(world, preferences(4), constant(width)))
    bits, _ = replay.state()
    assert [int(b.max()) for b in bits] == [5, 5, 8, 8, 8, 8]
    twin = Replay(6, 1, hindsight=False)
    twin.restore(replay.state())
    other = replace(world, judge=lambda bits: [Outcome(ok=False)] * len(bits))
    drawn = []
    for each in (replay, twin):
        each.enter(other)
        drawn.append(each.sample(50, np.random.default_rng(0)))
    np.testing.assert_array_equal(drawn[0].rewards, drawn[1].rewards)
    np.testing.assert_array_equal(drawn[0].observations, drawn[1].observations)
    assert (drawn[0].rewards[drawn[0].ends] < -1.9).all()
