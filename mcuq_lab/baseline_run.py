"""An engine's uniform policies as a run of their own, to be drawn beside a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from mcuq_lab.bench import open_board
from mcuq_lab.board import load_board
from mcuq_lab.engines import engine_named
from mcuq_lab.models import find_dataset, find_network
from mcuq_lab.pipeline import measure_network
from mcuq_lab.policy import Policy
from mcuq_lab.quantize import calibrate, quantize, quantize_input
from mcuq_lab.quantize.calibration import CALIBRATION_IMAGES
from mcuq_lab.results import RUNS_DIR, Row, append_rows, create_run, measured_columns


@dataclass(frozen=True)
class BaselineConfig:
    """What to measure.

    `policies` are uniform; `n_images` validation images score each, post-training.
    """

    model: str
    data: str
    board: str
    engine: str = "cmsis_nn"
    policies: Sequence[str] = ("w8a8",)
    clock: str = "reset"
    probe: str = ""
    simulated: bool = True
    n_images: int = 5000


def measure_baseline(config: BaselineConfig, *, root: Path = RUNS_DIR) -> Path:
    """Measures and records; returns the run's directory.

    Raises:
        ConfigError: a name that does not exist.
        McuqError: what a stage of the line raises.
    """
    engine = engine_named(config.engine)
    dataset = find_dataset(config.data)
    graph = find_network(config.model, dataset.name).graph
    tables = calibrate(graph, dataset.train_images[:CALIBRATION_IMAGES])
    images = dataset.validation_images[: config.n_images]
    labels = dataset.validation_labels[: config.n_images]
    rows: list[Row] = []
    bench: dict = {}
    opened = open_board(
        load_board(config.board), config.probe or None, config.simulated or None, config.clock
    )
    with opened as session:
        for text in tqdm(config.policies, desc=engine.label, unit="policy"):
            policy = Policy.parse(text, len(graph.layers))
            network = quantize(graph, policy, tables)
            inputs = quantize_input(images, network.input, graph.input.low, graph.input.high)
            measurement = measure_network(network, engine, session, inputs[:2], data=dataset.name)
            bench = asdict(measurement.bench)
            measured = measured_columns(measurement) | {"model": graph.name}
            rows.append(
                Row(
                    evaluation=len(rows),
                    policy=policy.pairs,
                    origin="baseline",
                    message=measurement.note,
                    accuracy_quick=engine.accuracy(network, inputs, labels),
                    n_images=len(images),
                    **measured,
                )
            )
    run_dir = create_run(
        kind="baseline",
        model=graph.name,
        data=dataset.name,
        board=config.board,
        method=config.engine,
        seed=0,
        config=asdict(config),
        bench=bench,
        root=root,
    )
    append_rows(run_dir, rows)
    return run_dir
