"""Which lower level ranks policies as full training does: what is measured.

Each of some dozens of policies is trained in full (quantization-aware training on all images) and
quickly, by each candidate *schedule* of the search's lower level. `lower_level_table` makes of it a
table of seconds against rank correlation. Images that score are those of the validation split; the
test images are not touched.

A study is a folder: `study.json` says what it is, `records.json` holds what is finished. It is
rewritten after each step, so a killed study loses one training at most.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout

from mcuq_lab.errors import ConfigError, NumericsError
from mcuq_lab.graph import Graph
from mcuq_lab.models import Dataset
from mcuq_lab.policy import MAX_BITS, MIN_BITS, Policy
from mcuq_lab.quantgraph import QuantGraph
from mcuq_lab.quantize import calibrate, initial_state, predict, to_integers
from mcuq_lab.quantize.finetuning import (
    FinetuneConfig,
    Trained,
    divergence,
    finetune,
    teach,
)
from mcuq_lab.quantize.qat import QatConfig, quantization_aware_training
from mcuq_lab.results import write_atomically
from mcuq_lab.rlquant.algorithm import one_thread
from mcuq_lab.rlquant.config import LowerLevelConfig
from mcuq_lab.rlquant.space import SearchSpace, to_policy


@dataclass(frozen=True)
class Schedule:
    """A candidate for the lower level; fields as in `LowerLevelConfig`."""

    mode: str = "none"
    batches: int = 0
    correct_statistics: bool = True
    hopeless_nats: float = 0.0

    @property
    def name(self) -> str:
        """For example `steps_20`, `steps_40_give_up_1.5`."""
        if self.mode == "none":
            return "corrected" if self.correct_statistics else "post_training"
        give_up = f"_give_up_{self.hopeless_nats:g}" if self.hopeless_nats else ""
        return f"{self.mode}_{self.batches}{give_up}"


SCHEDULES = (
    Schedule(correct_statistics=False),
    Schedule(),
    *(Schedule(mode, n) for mode in ("steps", "weights_and_steps") for n in (20, 40, 80)),
)


@dataclass(frozen=True)
class StudyConfig:
    """One study; stored in its folder."""

    policies: int = 24
    """Policies that are ranked, from w2a2 to w8a8."""
    schedules: tuple[Schedule, ...] = SCHEDULES
    """Candidates."""
    score_images: tuple[int, ...] = (1000, 2000, 5000)
    """Validation images that score a policy; the last is also what full training is scored on."""
    calibration_images: int = LowerLevelConfig.calibration_images
    """As in `LowerLevelConfig`."""
    training_images: int = LowerLevelConfig.training_images
    """As in `LowerLevelConfig`; the full training sees all images, or as many as it names."""
    batch_size: int = LowerLevelConfig.batch_size
    """As in `LowerLevelConfig`."""
    qat: QatConfig = field(default_factory=lambda: QatConfig(epochs=1, augment=False))
    """The full training that every schedule is held against."""
    seed: int = 0
    """Decides policies and batches."""

    def __post_init__(self) -> None:
        if self.policies < 3:
            raise ConfigError("A rank correlation needs at least 3 policies.")
        names = [schedule.name for schedule in self.schedules]
        if len(set(names)) < len(names):
            raise ConfigError("Two schedules of the study have one name.")
        if list(self.score_images) != sorted(set(self.score_images)) or self.score_images[0] < 1:
            raise ConfigError("score_images must rise, from 1 at least.")


@dataclass(frozen=True)
class Score:
    """What validation images say of a network, the first n of them.

    Attributes:
        images: n, at most as many as there are.
        seconds: CPU seconds that these n images took.
        top1: share of right answers.
        kl_nats: mean divergence from the float network's answers.
    """

    images: int
    seconds: float
    top1: float
    kl_nats: float


@dataclass(frozen=True)
class Record:
    """One policy under one schedule, or fully trained (`schedule` is "qat").

    Attributes:
        policy: as `Policy.parse` reads it.
        seconds: CPU seconds of the training; quantization before it and after it included.
        losses: of each batch of SGD, in nats.
        scores: at each number of images; empty: the training ended in no network.
    """

    policy: str
    schedule: str
    seconds: float
    losses: tuple[float, ...]
    scores: tuple[Score, ...]

    @classmethod
    def from_json(cls, content: dict) -> Record:
        """Reads what `asdict` wrote."""
        scores = tuple(Score(**score) for score in content["scores"])
        return cls(**(content | {"losses": tuple(content["losses"]), "scores": scores}))


FULL = "qat"
"""`Record.schedule` of the full training."""


def draw_policies(space: SearchSpace, n: int, seed: int) -> list[Policy]:
    """`n` different policies: w2a2, w8a8, and mixed ones of all mean widths between them.

    Mean widths lie denser at few bits, where policies differ most; the widths of a policy scatter
    by about one bit around its mean. The order is any, so that the first few are spread, too.
    """
    rng = np.random.default_rng([seed, 7])
    levels = MIN_BITS + (MAX_BITS - MIN_BITS) * np.linspace(0.0, 1.0, n) ** 1.5
    found: dict[Policy, None] = {}
    for i, level in enumerate(levels):
        scatter = 0.0 if i in (0, n - 1) else 1.0
        policy = None
        while policy is None or policy in found:
            drawn = np.rint(level + scatter * rng.standard_normal((space.n_layers, 2)))
            policy = to_policy(space.canonical(np.clip(drawn, MIN_BITS, MAX_BITS)))
            # A second draw of equal widths must be able to differ.
            scatter = 1.0
        found[policy] = None
    policies = list(found)
    return [policies[i] for i in rng.permutation(n)]


class Study:
    """A study in its folder.

    Args:
        graph: the float network.
        data: its data set; the test part is not touched.
        config: what is compared.
        folder: made if it is not there.

    Raises:
        ConfigError: the folder holds another study, or cannot be read.
    """

    def __init__(self, graph: Graph, data: Dataset, config: StudyConfig, folder: Path) -> None:
        self.graph, self.config = graph, config
        self._data, self._folder = data, folder
        self.policies = draw_policies(SearchSpace(graph), config.policies, config.seed)
        n = min(config.score_images[-1], len(data.validation_labels))
        self._images, self._labels = data.validation_images[:n], data.validation_labels[:n]
        self._records: dict[tuple[str, str], Record] = {}
        folder.mkdir(parents=True, exist_ok=True)
        identity = {"graph": graph.digest, "data": data.name, **asdict(config)}
        # Schedules may be added to a study: each has records of its own.
        del identity["schedules"]
        self._open(json.loads(json.dumps(identity)))

    @property
    def total(self) -> int:
        """Trainings of the whole study."""
        return len(self.policies) * (len(self.config.schedules) + 1)

    @property
    def done(self) -> int:
        """Trainings of it that are finished."""
        wanted = {FULL, *(schedule.name for schedule in self.config.schedules)}
        return sum(schedule in wanted for _, schedule in self._records)

    @property
    def records(self) -> list[Record]:
        """What is finished."""
        return list(self._records.values())

    def run(self, on_record: Callable[[Record], None] = lambda record: None) -> list[Record]:
        """Does what is missing, policy by policy; returns all records.

        Works on one thread of torch, so that CPU seconds are those of one core.

        Args:
            on_record: called after each training.

        Raises:
            ConfigError: another process works in the folder.
        """
        lock = FileLock(self._folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise ConfigError(f"{self._folder} is being worked on by another process.") from None
        with lock, one_thread():
            bench = _Bench(self.graph, self._data, self._images, self._labels, self.config)
            for i, policy in enumerate(self.policies):
                # The full training last: until it is there the policy counts as unfinished.
                for schedule in self.config.schedules:
                    if (str(policy), schedule.name) not in self._records:
                        self._keep(self._quick(bench, policy, schedule), on_record)
                if (str(policy), FULL) not in self._records:
                    checkpoint = self._folder / f"qat-{i}.pt"
                    self._keep(bench.train_fully(policy, checkpoint), on_record)
                    checkpoint.unlink(missing_ok=True)
        return self.records

    def float_scores(self) -> tuple[Score, ...]:
        """The float network's own scores (its divergence from itself is 0)."""
        logits = teach(self.graph, self._images).logits
        return _scores(logits, logits, self._labels, self.config.score_images)

    def _quick(self, bench: _Bench, policy: Policy, schedule: Schedule) -> Record:
        """Trains; what is not given up equals its twin that never gives up, and is not repeated."""
        twin = self._records.get((str(policy), replace(schedule, hopeless_nats=0.0).name))
        if schedule.hopeless_nats and twin is not None:
            early = twin.losses[: math.ceil(schedule.batches / 3)]
            if not bench.finetuning(schedule).is_hopeless(early):
                return replace(twin, schedule=schedule.name)
        return bench.train_quickly(policy, schedule)

    def _keep(self, record: Record, on_record: Callable[[Record], None]) -> None:
        self._records[record.policy, record.schedule] = record
        content = [asdict(record) for record in self._records.values()]
        write_atomically(self._folder / "records.json", (json.dumps(content) + "\n").encode())
        on_record(record)

    def _open(self, identity: dict) -> None:
        path, records = self._folder / "study.json", self._folder / "records.json"
        try:
            found = json.loads(path.read_text()) if path.exists() else None
            kept = json.loads(records.read_text()) if found and records.exists() else []
            self._records = {(r["policy"], r["schedule"]): Record.from_json(r) for r in kept}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"The study in {self._folder} cannot be read ({error}); delete the folder to begin "
                "anew."
            ) from error
        if found is None:
            write_atomically(path, (json.dumps(identity, indent=1) + "\n").encode())
        elif found != identity:
            differing = [key for key in identity if found.get(key) != identity[key]]
            raise ConfigError(
                f"{self._folder} holds another study (other {', '.join(differing)}); choose "
                "another folder, or delete it."
            )


class _Bench:
    """Network and data, ready for one training after the other."""

    def __init__(
        self,
        graph: Graph,
        data: Dataset,
        images: np.ndarray,
        labels: np.ndarray,
        config: StudyConfig,
    ) -> None:
        self._graph, self._config = graph, config
        self._train, self._images, self._labels = data.train_images, images, labels
        self._tables = calibrate(graph, data.train_images[: config.calibration_images])
        self._lessons = teach(graph, data.train_images[: config.training_images])
        self._answers = teach(graph, images).logits

    def finetuning(self, schedule: Schedule) -> FinetuneConfig:
        return FinetuneConfig(
            trained=Trained(schedule.mode),
            batches=schedule.batches,
            batch_size=self._config.batch_size,
            seed=self._config.seed,
            hopeless_nats=schedule.hopeless_nats or math.inf,
        )

    def train_quickly(self, policy: Policy, schedule: Schedule) -> Record:
        losses: list[float] = []

        def train() -> QuantGraph:
            correct = schedule.correct_statistics
            state = initial_state(self._graph, policy, self._tables, correct=correct)
            if schedule.mode != "none":
                config = self.finetuning(schedule)
                state = finetune(
                    self._graph,
                    state,
                    self._lessons,
                    config,
                    lambda _, __, loss: losses.append(loss),
                )
            return to_integers(self._graph, state)

        return self._record(policy, schedule.name, train, losses)

    def train_fully(self, policy: Policy, checkpoint: Path) -> Record:
        def train() -> QuantGraph:
            state = initial_state(self._graph, policy, self._tables)
            config = replace(self._config.qat, seed=self._config.seed)
            state = quantization_aware_training(
                self._graph, state, self._train, config, checkpoint=checkpoint
            )
            return to_integers(self._graph, state)

        return self._record(policy, FULL, train, [])

    def _record(
        self, policy: Policy, name: str, train: Callable[[], QuantGraph], losses: list[float]
    ) -> Record:
        started_s = time.process_time()
        try:
            network = train()
        except NumericsError:  # it diverged, which is a result
            network = None
        seconds = time.process_time() - started_s
        scores = () if network is None else tuple(self._score(network))
        return Record(str(policy), name, seconds, tuple(losses), scores)

    def _score(self, network: QuantGraph) -> Iterator[Score]:
        """Scores at each number of images, each image answered once."""
        node, parts, seconds, first = self._graph.input, [], 0.0, 0
        for last in _counts(self._config.score_images, len(self._images)):
            started_s = time.process_time()
            parts.append(predict(network, self._images[first:last], node.low, node.high))
            seconds += time.process_time() - started_s
            first = last
            logits = np.concatenate(parts)
            yield _score(logits, self._answers[:last], self._labels[:last], seconds)


def _scores(
    logits: np.ndarray, answers: np.ndarray, labels: np.ndarray, counts: tuple[int, ...]
) -> tuple[Score, ...]:
    counts = _counts(counts, len(labels))
    return tuple(_score(logits[:n], answers[:n], labels[:n], 0.0) for n in counts)


def _score(logits: np.ndarray, answers: np.ndarray, labels: np.ndarray, seconds: float) -> Score:
    nats = divergence(torch.from_numpy(logits), torch.from_numpy(answers))
    return Score(len(labels), seconds, float((logits.argmax(1) == labels).mean()), float(nats))


def _counts(wanted: tuple[int, ...], available: int) -> list[int]:
    """Numbers of images, as far as there are so many."""
    return sorted({min(n, available) for n in wanted})
