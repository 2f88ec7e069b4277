"""The configuration of a search: every knob, its unit, and a sentence on why one would turn it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from mcuq_lab.errors import ConfigError
from mcuq_lab.models import dataset_name, located_dataset, located_network, network_name
from mcuq_lab.policy import Policy

LOWER_LEVELS = ("none", "steps", "weights_and_steps")
ALGORITHMS = ("ppo", "dqn", "sac")


@dataclass(frozen=True)
class LowerLevelConfig:
    """SGD below each policy: what an episode trains before it is scored."""

    mode: str = "steps"
    """`none` (post-training steps only), `steps` (the poster's: step sizes learn, weights stay) or
    `weights_and_steps` (costs the same, recovers more below 4 bits). `none` orders policies as well
    in a third of the time; accuracies at few bits are then further from the final ones
    (results/reference/lower_level)."""
    batches: int = 20
    """Mini-batches of SGD an episode; 0 is the same as mode `none`. More of them raise accuracies
    at few bits, but do not order policies better (results/reference/lower_level)."""
    batch_size: int = 64
    """Images a mini-batch."""
    validation_images: int = 5000
    """Images of the search's validation split (from the training data) that score a policy; below
    5,000 the scatter of the score decides the ranking."""
    calibration_images: int = 256
    """Training images that fit the post-training steps."""
    correct_statistics: bool = True
    """Give each channel back the mean and variance that rounding took, before SGD; about as quick
    as one pass over the calibration images, and worth more than many steps of SGD at few bits."""
    training_images: int = 4096
    """Training images that SGD sees; the float network answers each once, at the start."""
    hopeless_nats: float = 0.0
    """SGD ends after a third of its batches where the divergence from the float network is still
    larger (the row's message says so): such a policy is no member of a front, and need not be known
    better. 0: never."""
    threads: int = 2
    """Threads of torch; one number for a whole run, since sums depend on it."""


@dataclass(frozen=True)
class AgentConfig:
    """The RL agent: an algorithm of Ray RLlib on imagined episodes."""

    algorithm: str = "ppo"
    """`ppo`, or off-policy with a replay: `dqn`, `sac`. PPO is the default since the front it finds
    has the largest median hypervolume with 10 layers and with 28 (results/reference/agents), if by
    less than seeds differ, and since the fewest knobs below are about it."""
    episodes_per_iteration: int = 100
    """Imagined episodes of an iteration."""
    first_iterations: int = 12
    """Iterations in the first round, when the agent knows nothing."""
    iterations: int = 4
    """Iterations in each later round."""
    rollouts: int = 1024
    """Policies that the agent proposes a round, each under a preference drawn anew."""
    minibatch_size: int = 250
    """Steps a gradient; at most episodes_per_iteration times layers, or ties."""
    epochs: int = 8
    """Passes of PPO over each batch of episodes."""
    updates_per_iteration: int = 64
    """Gradient steps of DQN and SAC an iteration."""
    hindsight: bool = True
    """Whether DQN and SAC learn from each episode under preferences drawn anew each time, not under
    its own: one policy then teaches all of them."""
    bootstrap_steps: int = 30
    """Layers that DQN and SAC look ahead before they trust their own values. What a policy is worth
    comes to light at its end; one layer at a time its news travels slowly."""
    replay_episodes: int = 4000
    """Episodes that DQN and SAC learn from, the latest ones."""
    learning_rate: float = 1e-3
    """Of Adam; the imagined world is cheap and forgiving."""
    entropy_coefficient: float = 0.003
    """Keeps PPO's choices apart; higher explores more."""
    exploration: float = 0.1
    """Share of DQN's and SAC's choices that are any open pair, while they learn."""
    temperature: float = 0.01
    """DQN draws from the softmax of its values over this, in units of the return; where SAC's
    weight of the entropy begins."""
    target_entropy_nats: float = 1.0
    """Entropy of a choice that SAC holds its policy to; all 49 pairs alike have 3.9."""
    target_rate: float = 0.02
    """Part of the way that target networks of DQN and SAC go after each gradient step."""
    hidden_units: int = 128
    """Width of the two hidden layers of each network."""

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise ConfigError(
                f"There is no algorithm '{self.algorithm}' for the agent; choose one of "
                f"{', '.join(ALGORITHMS)}."
            )
        if self.temperature <= 0 or self.bootstrap_steps < 1:
            raise ConfigError("The agent needs temperature > 0 and bootstrap_steps >= 1.")


@dataclass(frozen=True)
class ProposalConfig:
    """How the surrogate loop finds and picks candidates; shared by all surrogate methods."""

    batch_size: int = 6
    """Policies measured between two fits; smaller uses the board better, larger trains less."""
    uniform_anchors: tuple[str, ...] = ("w4a4", "w2a2", "w3a3", "w6a6", "w4a8", "w8a4")
    """Uniform policies that are measured first, besides w8a8, which every search starts with."""
    random_anchors: int = 8
    """Random policies that are measured first."""
    informed_anchors: int = 2
    """The same in RLQuant, which knows what each width does alone: more random policies would
    teach it less than those it picks itself."""
    first_scouts: int = 24
    """Policies of the front with weights of other widths that RLQuant plans in its first round, ...
    """
    narrow_scouts: int = 84
    """More that RLQuant plans in its first round, with all tensors at two bits but for a few: where
    the least memory is, and hard to find from wider ones, ..."""
    scouts: int = 8
    """... and so many of the front's in each later one, only to learn what they would cost; as many
    again are those that promise most. While too few plans promise a gain, as many more follow, ...
    """
    scoutings: int = 4
    """... so many times in all."""
    agent_share: float = 0.16
    """At least this part of each batch are the agent's own rollouts (in an ablation: proposals of
    whatever stands in its place); the rest goes to whoever promises most."""
    mutations: int = 384
    """Children of each imagined generation of mutations and crossings."""
    generations: int = 30
    """Imagined generations a round, from the measured front and the agent's proposals on; with 28
    layers 12 are too few, with 10 more would gain nothing."""
    draws: int = 16
    """Draws of the surrogate that an expected gain is averaged over."""
    shortlist: int = 24
    """Candidates whose memory is planned exactly before the last choice; a plan takes a tenth of a
    second and more, and 48 find no better policies."""


@dataclass(frozen=True)
class SearchConfig:
    """One search; stored in run.json, and enough to start it again."""

    model: str = "resnet8"
    """Network of the zoo, or a file of `mcuq_lab.models.save_network`."""
    data: str = "digits"
    """Data set that the network was trained on: its name, a folder with CIFAR-10, or a file of
    `mcuq_lab.models.save_dataset`."""
    board: str = "nucleo_f412zg"
    """Id of the board."""
    clock: str = "reset"
    """Clock option of the board."""
    probe: str = ""
    """Unique id of the probe; empty takes the only one, or the simulated board. With several
    boards: ids with commas between them; empty takes those that are plugged in."""
    simulated: bool = True
    """Measure on the simulated board even if a real one is there."""
    engine: str = "liteengine"
    """Who generates the code."""
    method: str = "rlquant"
    """What proposes policies; see `mcuq_lab.rlquant.METHODS`."""
    evaluations: int = 100
    """Policies to evaluate; failures count, repeats of a measured policy are free and do not."""
    seed: int = 0
    """Decides everything that is drawn."""
    budget_sram_bytes: int | None = None
    """Hard limit of peak SRAM; None for the board's own."""
    budget_flash_bytes: int | None = None
    """Hard limit of flash; None for the board's own."""
    budget_latency_ms: float | None = None
    """Hard limit of the latency of one inference, at the board's clock."""
    arena_bytes: int | None = None
    """Budget of LiteEngine's arena for every policy, see `Target`; None: worth its bytes."""
    reference_accuracy_drop: float = 0.4
    """The reference point of the hypervolume lies this far below the float accuracy ..."""
    reference_cost_factor: float = 1.1
    """... and at this multiple of w8a8's cycles and peak SRAM."""
    boards: int = 1
    """Boards of this kind that evaluate at the same time, each an actor of Ray; rows do not depend
    on it. Methods that propose one policy at a time (TPE) gain nothing."""
    ray_address: str = ""
    """Ray cluster whose nodes have the boards; empty: with several boards Ray is started here."""
    board_inputs: int = 1
    """Inputs that run on the board an episode (a run is deterministic; more checks more bits)."""
    evaluator: str = "mcuq_lab.rlquant.evaluator:make_evaluator"
    """Import path of the function that turns this configuration into an `Evaluator`."""
    table: str = ""
    """Table (a file that `mcuq tabulate` made) that answers instead of a board, for the evaluator
    `mcuq_lab.rlquant.tabular:make_evaluator`; its space is the search's."""
    lower_level: LowerLevelConfig = field(default_factory=LowerLevelConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    proposals: ProposalConfig = field(default_factory=ProposalConfig)

    def __post_init__(self) -> None:
        if self.evaluations < 1:
            raise ConfigError(f"A search needs at least 1 evaluation, not {self.evaluations}.")
        if not 0 < self.reference_accuracy_drop <= 1:
            raise ConfigError(
                f"The accuracy drop {self.reference_accuracy_drop} must be a share of 1 above 0."
            )
        if self.boards < 1:
            raise ConfigError(f"A search needs at least 1 board, not {self.boards}.")
        if self.lower_level.mode not in LOWER_LEVELS:
            raise ConfigError(
                f"Lower level '{self.lower_level.mode}' is unknown; choose one of "
                f"{', '.join(LOWER_LEVELS)}."
            )
        if self.lower_level.hopeless_nats < 0:
            raise ConfigError("lower_level.hopeless_nats must be at least 0; 0 never gives up.")
        if self.proposals.batch_size < 1:
            raise ConfigError("proposals.batch_size must be at least 1.")
        limits = (self.budget_sram_bytes, self.budget_flash_bytes, self.budget_latency_ms)
        if self.table and limits != (None, None, None):
            raise ConfigError("A search in a table takes no budgets; search on a board for them.")
        for text in self.proposals.uniform_anchors:
            Policy.parse(text, 1)

    @property
    def model_name(self) -> str:
        """Of the network, in rows and runs."""
        return network_name(self.model)

    @property
    def data_name(self) -> str:
        """Of the data set, likewise."""
        return dataset_name(self.data)

    def located(self) -> SearchConfig:
        """The same, with the whole paths of a user's own files."""
        return replace(self, model=located_network(self.model), data=located_dataset(self.data))

    @property
    def probe_uids(self) -> tuple[str, ...]:
        """The ids in `probe`."""
        return tuple(uid.strip() for uid in self.probe.split(",") if uid.strip())

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> SearchConfig:
        """Reads what `to_json` wrote; raises ConfigError on an unknown entry or a wrong value."""
        parts = {
            "lower_level": LowerLevelConfig,
            "agent": AgentConfig,
            "proposals": ProposalConfig,
        }
        values = dict(content)
        for name, part in parts.items():
            if name in values:
                values[name] = _build(part, values[name], f"{name}.")
        return _build(cls, values, "")


def quick_config(**changes: Any) -> SearchConfig:
    """A search of 20 evaluations for a first look: few anchors, small rounds, a small agent.

    `changes` override fields of `SearchConfig`.
    """
    values: dict[str, Any] = {
        "evaluations": 20,
        "lower_level": LowerLevelConfig(
            batches=8,
            validation_images=2000,
            training_images=1024,
            calibration_images=128,
            threads=1,
        ),
        "agent": AgentConfig(
            episodes_per_iteration=60,
            first_iterations=6,
            iterations=3,
            rollouts=256,
            epochs=4,
            minibatch_size=150,
        ),
        "proposals": ProposalConfig(
            batch_size=4,
            uniform_anchors=("w4a4", "w2a2", "w3a3", "w4a8"),
            random_anchors=3,
            shortlist=12,
            first_scouts=8,
            narrow_scouts=8,
            scouts=4,
            scoutings=1,
        ),
    }
    return SearchConfig(**(values | changes))


_RETIRED = {"agent.parallel_envs"}
"""Entries of earlier versions that mean nothing any more."""


def _build(cls: type, values: Mapping[str, Any], prefix: str):
    values = {k: v for k, v in values.items() if prefix + k not in _RETIRED}
    known = {f.name for f in fields(cls)}
    unknown = set(values) - known
    if unknown:
        raise ConfigError(
            f"Unknown entry '{prefix}{sorted(unknown)[0]}' in the configuration of a search; "
            f"known: {', '.join(sorted(known))}."
        )
    frozen = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    try:
        return cls(**frozen)
    except TypeError as error:
        raise ConfigError(f"The configuration of a search cannot be read: {error}.") from error
