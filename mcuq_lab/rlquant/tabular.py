"""A tabular benchmark for bit-width search: every policy of a restricted space, measured once.

A table is two files of one name. `<name>.parquet` holds one row a policy in the schema of
`mcuq_lab.results` (accuracy on the validation split, cycles, bytes, status, seconds by phase).
`<name>.json` holds the space (`ties`, `choices`), what a search asks for besides rows (float
accuracy, clock, memory of the board, sensitivity), the configuration of the evaluator that measured
the rows, and provenance. A search in a table looks its policies up, and nothing is interpolated: a
policy that is not there is an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from tqdm import tqdm

from mcuq_lab.errors import BoardError, ConfigError
from mcuq_lab.graph import Graph
from mcuq_lab.models import find_network
from mcuq_lab.policy import Policy
from mcuq_lab.results import (
    RUNS_DIR,
    Row,
    append_rows,
    create_run,
    from_table,
    provenance,
    read_rows,
    read_run_info,
    to_table,
    write_atomically,
)
from mcuq_lab.rlquant.config import SearchConfig
from mcuq_lab.rlquant.evaluation import Evaluator, load_evaluator
from mcuq_lab.rlquant.planned import Planned
from mcuq_lab.rlquant.space import SearchSpace, tied_policies, to_policy

CHOICES = ((8, 8), (4, 8), (4, 4), (2, 4))
"""Pairs of widths of a table, unless others are asked for; wide to narrow."""


def stage_ties(graph: Graph) -> tuple[int, ...]:
    """Ties the layers of each stage: those whose outputs have as many pixels."""
    pixels = [graph.shapes[layer.name].h * graph.shapes[layer.name].w for layer in graph.layers]
    stages = list(dict.fromkeys(pixels))
    return tuple(stages.index(n) for n in pixels)


def new_table(
    config: SearchConfig,
    graph: Graph,
    choices: Sequence[tuple[int, int]] = CHOICES,
    ties: Sequence[int] = (),
    *,
    command: str = "",
    root: Path = RUNS_DIR,
) -> Path:
    """Makes the run in which a table of `graph` will be measured; no `ties`: tied by stages.

    Raises:
        ConfigError: the space does not fit the network.
    """
    config = config.located()
    space = SearchSpace(graph, tuple(ties) or stage_ties(graph), tuple(choices))
    return create_run(
        kind="table",
        model=graph.name,
        data=config.data_name,
        board=config.board,
        method="table",
        seed=config.seed,
        config=config.to_json() | {"ties": space.ties, "choices": space.choices},
        command=command,
        root=root,
    )


def tabulate(
    run_dir: Path,
    *,
    processes: int = 1,
    should_stop: Callable[[], bool] = lambda: False,
) -> int:
    """Measures what a table's run still lacks; returns the number of policies that are missing.

    Rows are appended one by one, so that a killed run loses only the policies under way.

    Args:
        processes: evaluators that work at the same time, each with a board of its own; rows do not
            depend on it.
        should_stop: asked after each policy.

    Raises:
        ConfigError: no such run, or another process works on it.
        BoardError: a process died.
        McuqError: nothing can be evaluated any more. Rows so far are kept.
    """
    config, ties, choices = _settings(run_dir)
    lock = FileLock(run_dir / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(f"{run_dir.name} is being run by another process.") from None
    with lock, _pool(processes, config) as pool:
        try:
            facts = run_dir / "facts.json"
            if not facts.exists():
                write_atomically(facts, (json.dumps(pool.submit(_facts).result()) + "\n").encode())
            policies = tied_policies(ties, choices)
            done = {row.policy for row in read_rows(run_dir)}
            missing = [p for p in map(to_policy, policies) if p.pairs not in done]
            n_rows, left = len(done), len(missing)
            with tqdm(total=len(policies), initial=n_rows, unit="policy", desc="table") as bar:
                for row in _evaluated(pool, missing, 2 * processes):
                    append_rows(run_dir, [_numbered(row, n_rows)])
                    n_rows, left = n_rows + 1, left - 1
                    bar.update()
                    if should_stop():
                        pool.shutdown(cancel_futures=True)
                        break
        except BrokenProcessPool as error:
            raise BoardError(
                f"A process of {run_dir.name} died (out of memory?); its rows are kept: resume it."
            ) from error
    return left


def write_table(run_dir: Path, path: Path) -> Path:
    """Writes a complete run as `<path>.parquet` and `.json`; returns the path of the first.

    Rows are ordered as the space is, so that the file does not depend on interruptions.

    Raises:
        ConfigError: policies are missing.
    """
    config, ties, choices = _settings(run_dir)
    rows = {row.policy: row for row in read_rows(run_dir)}
    ordered = [to_policy(bits).pairs for bits in tied_policies(ties, choices)]
    missing = [pairs for pairs in ordered if pairs not in rows]
    if missing:
        raise ConfigError(f"{len(missing)} of {len(ordered)} policies are missing; resume the run.")
    info = read_run_info(run_dir)
    made = {"command": info.command, "git_revision": info.git_revision, "git_dirty": info.git_dirty}
    document = {
        **provenance(),
        **made,
        "created_utc": info.created_utc,
        "config": config.to_json(),
        "ties": ties,
        "choices": choices,
        **json.loads((run_dir / "facts.json").read_text()),
    }
    path = path.with_suffix(".parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    sink = pa.BufferOutputStream()
    table = to_table([_numbered(rows[pairs], i) for i, pairs in enumerate(ordered)])
    pq.write_table(table, sink, compression="zstd")
    write_atomically(path, sink.getvalue().to_pybytes())
    write_atomically(path.with_suffix(".json"), (json.dumps(document) + "\n").encode())
    return path


class TabularEvaluator(Evaluator):
    """`Evaluator` that answers from a table.

    Args:
        path: the Parquet file; its JSON lies beside it.
        graph: the network, or None to find the one that the table names.

    Raises:
        ConfigError: the files cannot be read, or were made with another network.
    """

    def __init__(self, path: Path, graph: Graph | None = None) -> None:
        try:
            facts = json.loads(path.with_suffix(".json").read_text())
            rows = from_table(pq.read_table(path))
        except (OSError, ValueError, pa.ArrowException) as error:
            raise ConfigError(
                f"Table {path} cannot be read ({error}); make one with `mcuq tabulate`."
            ) from error
        self.config = SearchConfig.from_json(facts["config"])
        if graph is None:
            graph = find_network(self.config.model, self.config.data).graph
        if graph.digest != facts["graph_digest"]:
            raise ConfigError(
                f"Table {path} was measured with another '{graph.name}' than the present one "
                "(its weights differ); make the table anew."
            )
        self.graph, self._path = graph, path
        self.float_accuracy = facts["float_accuracy"]
        self.sysclk_hz = facts["sysclk_hz"]
        self.board_sram_bytes = facts["board_sram_bytes"]
        self.board_flash_bytes = facts["board_flash_bytes"]
        self._sensitivity = np.array(facts["sensitivity"])
        choices = tuple(map(tuple, facts["choices"]))
        self._space = SearchSpace(graph, tuple(facts["ties"]), choices)
        self.rows = {row.policy: row for row in rows}

    def space(self) -> SearchSpace:
        """The table's space."""
        return self._space

    def evaluate(self, policy: Policy) -> Row:
        """The policy's row; raises ConfigError if the table does not hold it."""
        row = self.rows.get(policy.pairs)
        if row is None:
            raise ConfigError(
                f"Policy {policy} is not in table {self._path.name}; its space has "
                f"{self._space.size} policies, each tie of layers with one of "
                f"{', '.join(f'w{w}a{a}' for w, a in self._space.choices)}."
            )
        return row

    def plan(self, policy: Policy) -> Planned | None:
        """The arena of the policy's row, without cycles: those that were predicted are unknown."""
        arena_bytes = self.evaluate(policy).sram_arena_bytes
        return None if arena_bytes is None else Planned(arena_bytes)

    def image_bytes(self, policy: Policy) -> int | None:
        """The flash of the policy's row."""
        return self.evaluate(policy).flash_total_bytes

    def sensitivity(self) -> np.ndarray:
        """See `Evaluator`; measured when the table was made."""
        return self._sensitivity

    def close(self) -> None:
        """Nothing to release."""


def make_evaluator(config: SearchConfig) -> TabularEvaluator:
    """The evaluator of a search whose configuration names a table.

    Raises:
        ConfigError: it names none, or one of another model or data set.
    """
    if not config.table:
        raise ConfigError("The configuration names no table; make one with `mcuq tabulate`.")
    found = TabularEvaluator(Path(config.table))
    if (found.config.model, found.config.data) != (config.model, config.data):
        raise ConfigError(
            f"Table {config.table} is one of {found.config.model} on {found.config.data}, not of "
            f"{config.model} on {config.data}."
        )
    return found


def _settings(run_dir: Path) -> tuple[SearchConfig, tuple, tuple]:
    info = read_run_info(run_dir)
    if info.kind != "table":
        raise ConfigError(f"{info.id} is no table's run but one of kind '{info.kind}'.")
    values = dict(info.config)
    ties, choices = values.pop("ties"), values.pop("choices")
    return SearchConfig.from_json(values), tuple(ties), tuple(map(tuple, choices))


def _numbered(row: Row, number: int) -> Row:
    return replace(row, evaluation=number, origin="table")


_evaluator: Evaluator | None = None
"""That of a worker process."""


def _open(config: SearchConfig) -> None:
    global _evaluator
    _evaluator = load_evaluator(config)


def _facts() -> dict:
    return {
        "graph_digest": _evaluator.graph.digest,
        "float_accuracy": _evaluator.float_accuracy,
        "sysclk_hz": _evaluator.sysclk_hz,
        "board_sram_bytes": _evaluator.board_sram_bytes,
        "board_flash_bytes": _evaluator.board_flash_bytes,
        "sensitivity": _evaluator.sensitivity().tolist(),
    }


def _evaluate(policy: Policy) -> Row:
    return _evaluator.evaluate(policy)


def _pool(processes: int, config: SearchConfig) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(processes, get_context("spawn"), _open, (config,))


def _evaluated(pool: ProcessPoolExecutor, policies: Sequence[Policy], ahead: int):
    """Rows in the order of the policies, `ahead` of which are under way at any time."""
    waiting: list[Future] = []
    for policy in policies:
        waiting.append(pool.submit(_evaluate, policy))
        if len(waiting) >= ahead:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()
