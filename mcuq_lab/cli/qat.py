"""`mcuq qat`: quantization-aware training of one network at one policy."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer
from tqdm import tqdm

from mcuq_lab.cli import options
from mcuq_lab.cli.output import command, emit, new_app, stdout_is_stderr
from mcuq_lab.cli.prepare import PolicyText
from mcuq_lab.models import find_dataset, network_name
from mcuq_lab.models.allocator import tune_allocator
from mcuq_lab.quantize import QatConfig, train_quantized
from mcuq_lab.quantize.stored import CHECKPOINTS
from mcuq_lab.results import RUNS_DIR

DEFAULTS = QatConfig()
COLUMNS = ("model", "data", "policy", "test_accuracy", "float_test_accuracy", "seconds")

app = new_app()


@app.command()
@command
def qat(
    model: options.Model = options.MODEL,
    data: options.Data = options.DATA,
    policy: PolicyText = "w4a4",
    epochs: Annotated[int, typer.Option(help="Passes over the images.")] = DEFAULTS.epochs,
    images: Annotated[
        int, typer.Option(help="Train on so many images only; 0: all.")
    ] = DEFAULTS.images,
    batch_size: Annotated[int, typer.Option(help="Images in a batch.")] = DEFAULTS.batch_size,
    weight_lr: Annotated[
        float, typer.Option(help="Peak movement of weights in a batch, in steps.")
    ] = DEFAULTS.weight_lr,
    step_lr: Annotated[
        float, typer.Option(help="Peak movement of a tensor's largest value, in steps.")
    ] = DEFAULTS.step_lr,
    augment: Annotated[
        bool, typer.Option(help="Crop and mirror images at random; with many bits, better not.")
    ] = DEFAULTS.augment,
    crop_margin_px: Annotated[
        int, typer.Option(help="Margin for random crops.")
    ] = DEFAULTS.crop_margin_px,
    seed: options.Seed = DEFAULTS.seed,
    checkpoint: Annotated[
        Path | None, typer.Option(help="File to resume from; default: in results/runs/qat.")
    ] = None,
    output: Annotated[
        Path, typer.Option(help="Folder of the stored network and its JSON.")
    ] = CHECKPOINTS,
    as_json: options.Json = False,
) -> None:
    """Trains a network at its policy and stores it; afterwards the other commands use it.

    The accuracy is that of the integers on all test images. After every epoch the run can be
    interrupted: the same command goes on from there.
    """
    config = QatConfig(
        epochs=epochs,
        images=images,
        batch_size=batch_size,
        weight_lr=weight_lr,
        step_lr=step_lr,
        augment=augment,
        crop_margin_px=crop_margin_px,
        seed=seed,
    )
    # A second thread gains little on nets this small, and changes the sums' last digits.
    torch.set_num_threads(1)
    tune_allocator()
    with stdout_is_stderr():
        dataset = find_dataset(data)
        if checkpoint is None:
            policy_name = Path(policy).stem.replace(",", "_")
            name = f"{network_name(model)}-{dataset.name}-{policy_name}-{epochs}-{seed}.pt"
            checkpoint = RUNS_DIR / "qat" / name
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        with tqdm(desc=f"{model} at {policy}", unit="batch", mininterval=1.0) as bar:

            def show(done: int, total: int, loss: float) -> None:
                if bar.total is None:
                    # A resumed training begins in the middle.
                    bar.total, bar.initial, bar.n = total, done - 1, done - 1
                bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
                bar.update(done - bar.n)

            provenance = train_quantized(
                model,
                dataset,
                policy,
                config,
                checkpoint=checkpoint,
                output=output,
                progress=show,
            )
    emit(asdict(provenance), as_json, () if as_json else COLUMNS)
