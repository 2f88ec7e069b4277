"""Several boards at once: each is an actor of a Ray cluster that owns its evaluator and its probe.

A batch of proposals is spread over the boards, and its rows come back in the batch's order, so a
search gives the same rows on any number of boards. What an actor was at work on when it died (its
process, its machine) goes to another one; a row is only taken from an actor that delivered it, so
nothing is lost and nothing is counted twice. The search's own process opens no board.

On one machine Ray is started for the search, with as many simulated boards as are asked for. On a
cluster each node says what it has: `ray start ... --resources '{"nucleo_f412zg": 1}'`. Of real
boards each actor gets one of its own: it tells which probes its machine has, and is told which of
them to open.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayActorError, RayTaskError

from mcuq_lab.bench import find_probes, uids_of_boards
from mcuq_lab.board import load_board
from mcuq_lab.errors import BoardError, ConfigError, McuqError
from mcuq_lab.graph import Graph
from mcuq_lab.policy import Policy
from mcuq_lab.results import Row
from mcuq_lab.rlquant.cluster import check_free, connect
from mcuq_lab.rlquant.config import SearchConfig
from mcuq_lab.rlquant.evaluation import Evaluator, load_evaluator
from mcuq_lab.rlquant.planned import Planned

_START_TIMEOUT_S = 600.0
"""Until at least one board is open again after the last one died."""
_CLOSE_TIMEOUT_S = 10.0
_MOST_DEATHS = 3
"""A policy that so many actors died of is a row with status `probe_error`."""

log = logging.getLogger("mcuq.rlquant")


@dataclass(frozen=True, eq=False)
class Description:
    """What an evaluator is like; see `Evaluator`."""

    graph: Graph
    float_accuracy: float
    sysclk_hz: int
    board_sram_bytes: int
    board_flash_bytes: int


@dataclass(frozen=True)
class Place:
    """Where an actor lives: its machine, and the probes there that this search may use; none
    where boards are simulated."""

    machine: str
    probe_uids: tuple[str, ...]


class BoardActor:
    """Lives in a process of its own, on the machine of its board."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = SearchConfig.from_json(config)
        self._evaluator: Evaluator | None = None

    def look(self) -> Place:
        """Which probes there are; raises BoardError if one that is named does not answer."""
        config, machine = self._config, ray.get_runtime_context().get_node_id()
        probes = () if config.simulated else find_probes()
        simulated = True if config.simulated else None
        board = load_board(config.board)
        return Place(machine, uids_of_boards(board, config.probe_uids, simulated, probes))

    def open(self, probe_uid: str) -> Description:
        """Loads network and data for the board with this probe (any, if simulated: ""); not in the
        constructor, whose errors Ray reports as a death."""
        made = self._evaluator = load_evaluator(replace(self._config, probe=probe_uid))
        return Description(
            made.graph,
            made.float_accuracy,
            made.sysclk_hz,
            made.board_sram_bytes,
            made.board_flash_bytes,
        )

    def call(self, method: str, *arguments: Any) -> Any:
        """Calls one of the evaluator's methods."""
        return getattr(self._evaluator, method)(*arguments)

    def close(self) -> None:
        """Releases the board."""
        if self._evaluator is not None:
            self._evaluator.close()


class BoardFleet(Evaluator):
    """`Evaluator` on `config.boards` boards at once.

    Raises:
        ConfigError: there is no such cluster, or it has fewer boards of this kind free, or a
            machine of it fewer probes than boards.
        McuqError: a board's evaluator cannot be made; its own error.
    """

    def __init__(self, config: SearchConfig) -> None:
        self._config = config
        self._own_ray = connect(config.board, config.boards, config.ray_address)
        self._actors: list = []
        self._idle: list = []
        self._looking: dict = {}
        self._starting: dict = {}
        self._taken: dict = {}
        try:
            check_free(config.board, config.boards)
            for _ in range(config.boards):
                self._start()
            for reference in list(self._looking):
                self._assign(reference)
            opened = [self._opened(reference) for reference in list(self._starting)]
        except BaseException:
            self.close()
            raise
        self._description = first = opened[0]
        self.graph, self.float_accuracy = first.graph, first.float_accuracy
        self.sysclk_hz = first.sysclk_hz
        self.board_sram_bytes = first.board_sram_bytes
        self.board_flash_bytes = first.board_flash_bytes

    def evaluate(self, policy: Policy) -> Row:
        """See `Evaluator`."""
        return next(self.evaluate_many([policy]))

    def evaluate_many(self, policies: Sequence[Policy]) -> Iterator[Row]:
        """See `Evaluator`; on all boards at once, rows in the order of the policies."""
        waiting = deque(enumerate(policies))
        running: dict = {}
        finished: dict[int, Row] = {}
        deaths: dict[int, int] = {}
        position = 0
        try:
            while position < len(policies):
                while self._idle and waiting:
                    index, policy = waiting.popleft()
                    actor = self._idle.pop(0)
                    running[actor.call.remote("evaluate", policy)] = (index, policy, actor)
                for reference in self._wait(running):
                    index, policy, actor = running.pop(reference)
                    try:
                        finished[index] = _get(reference)
                        self._idle.append(actor)
                    except RayActorError as error:
                        self._bury(actor, error)
                        deaths[index] = deaths.get(index, 0) + 1
                        if deaths[index] < _MOST_DEATHS:
                            waiting.appendleft((index, policy))
                        else:
                            finished[index] = self._deadly(policy, error)
                while position in finished:
                    yield finished.pop(position)
                    position += 1
        finally:
            # A search that stops early leaves boards at work; each must end before the next task.
            self._idle += [actor for _, _, actor in running.values()]

    def plan(self, policy: Policy) -> Planned | None:
        """See `Evaluator`."""
        return self._ask("plan", policy)

    def image_bytes(self, policy: Policy) -> int | None:
        """See `Evaluator`."""
        return self._ask("image_bytes", policy)

    def least_flash_bytes(self, policy: Policy) -> int | None:
        """See `Evaluator`."""
        return self._ask("least_flash_bytes", policy)

    def sensitivity(self) -> np.ndarray:
        """See `Evaluator`."""
        return self._ask("sensitivity")

    def close(self) -> None:
        """Releases all boards; ends Ray if it was started here."""
        closing = [actor.close.remote() for actor in self._idle]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=_CLOSE_TIMEOUT_S)
        for actor in self._actors:
            ray.kill(actor)
        self._actors, self._idle, self._looking, self._starting = [], [], {}, {}
        if self._own_ray:
            ray.shutdown()

    def _ask(self, method: str, *arguments: Any) -> Any:
        while True:
            if not self._idle:
                self._wait({})
                continue
            actor = self._idle[0]
            try:
                return _get(actor.call.remote(method, *arguments))
            except RayActorError as error:
                self._idle.remove(actor)
                self._bury(actor, error)

    def _start(self) -> None:
        """Asks for one more actor; it counts once it has got a probe and its board is open."""
        remote = ray.remote(BoardActor)
        # The board is what is scarce; torch's threads are the configuration's business.
        options = {"num_cpus": 0, "resources": {self._config.board: 1}, "max_restarts": 0}
        actor = remote.options(**options).remote(self._config.to_json())
        self._actors.append(actor)
        self._looking[actor.look.remote()] = actor

    def _assign(self, reference: Any) -> None:
        """Has an actor that has looked around open a board that no other actor has."""
        actor = self._looking.pop(reference)
        place: Place = _get(reference)
        taken = set(self._taken.values())
        free = [uid for uid in place.probe_uids if (place.machine, uid) not in taken]
        if place.probe_uids and not free:
            raise ConfigError(
                f"{self._config.boards} boards {self._config.board} are asked for, more than there "
                f"are: a machine has no probes but {', '.join(place.probe_uids)}, each in use by "
                "this search. Plug more boards in, name their probes, or ask for fewer boards."
            )
        uid = free[0] if free else ""
        if uid:
            self._taken[actor] = (place.machine, uid)
            log.info("probe %s measures for this search", uid)
        self._starting[actor.open.remote(uid)] = actor

    def _opened(self, reference: Any) -> Description:
        """Takes an actor whose board has opened into service."""
        actor = self._starting[reference]
        description = _get(reference)
        del self._starting[reference]
        self._idle.append(actor)
        return description

    def _wait(self, running: dict) -> list:
        """The evaluations that have ended; waits for one, or for a board that opens."""
        if not running and not self._starting and not self._looking:
            raise BoardError(
                "No board of this search is left. Nothing is lost: resume the search when the "
                "boards are back."
            )
        pending = [*running, *self._looking, *self._starting]
        deadline = None if running else time.monotonic() + _START_TIMEOUT_S
        timeout_s = None if deadline is None else _START_TIMEOUT_S
        ready, _ = ray.wait(pending, num_returns=1, timeout=timeout_s)
        if not ready:
            raise BoardError(
                f"No board of this search has come back within {_START_TIMEOUT_S:.0f} s. Nothing "
                "is lost: resume the search when the boards are back."
            )
        for reference in [r for r in ready if r in self._looking]:
            try:
                self._assign(reference)
            except (RayActorError, McuqError) as error:
                log.warning("a board that died is not replaced (%s)", error)
        for reference in [r for r in ready if r in self._starting]:
            try:
                found = self._opened(reference)
            except RayActorError as error:
                log.warning("a board that was to be opened anew is gone (%s)", error)
                self._taken.pop(self._starting.pop(reference), None)
                continue
            if found.graph.digest != self.graph.digest or found.sysclk_hz != self.sysclk_hz:
                raise ConfigError(
                    "A machine of the cluster has another network or clock for this search; "
                    "give all of them the same version of the project."
                )
        return [r for r in ready if r in running]

    def _bury(self, actor: Any, error: RayActorError) -> None:
        log.warning("a board has died (%s); others take over", str(error).splitlines()[0])
        self._actors.remove(actor)
        self._taken.pop(actor, None)
        ray.kill(actor)  # it may only be out of reach
        self._start()

    def _deadly(self, policy: Policy, error: RayActorError) -> Row:
        return Row(
            evaluation=0,
            model=self._config.model_name,
            data=self._config.data_name,
            board=self._config.board,
            engine=self._config.engine,
            policy=policy.pairs,
            origin="",
            status="probe_error",
            message=f"{_MOST_DEATHS} processes died of it: {str(error).splitlines()[0]}",
        )


def _get(reference: Any) -> Any:
    """`ray.get`, with errors of our tree as they were raised."""
    try:
        return ray.get(reference)
    except RayTaskError as error:
        if isinstance(error.cause, McuqError):
            raise error.cause from None
        raise
