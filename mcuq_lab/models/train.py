"""Train a net of the zoo: `python -m mcuq_lab.models.train --model resnet8 --data cifar10 ...`.

Every field of TrainingConfig is an option. After every epoch the run can be interrupted and the
same command goes on from there. The result is a weight file with its provenance as JSON.
"""

import argparse
import shlex
import sys
import time
from dataclasses import asdict, fields
from pathlib import Path

import torch
from torch import nn

from mcuq_lab.errors import McuqError
from mcuq_lab.models.allocator import tune_allocator
from mcuq_lab.models.data import load_dataset
from mcuq_lab.models.trained import (
    CHECKPOINTS,
    Provenance,
    as_stored,
    git_revision,
    save_trained,
)
from mcuq_lab.models.training import EpochReport, TrainingConfig, accuracy, train_model


def parse(arguments: list[str]) -> argparse.Namespace:
    """Options from the fields of TrainingConfig, and the places to write to."""
    parser = argparse.ArgumentParser(prog="python -m mcuq_lab.models.train", description=__doc__)
    for field in fields(TrainingConfig):
        option = "--" + field.name.replace("_", "-")
        if field.type is bool:
            kind = {"action": argparse.BooleanOptionalAction}
        else:
            kind = {"type": str if field.default is None else type(field.default)}
        # argparse reads % as a format.
        sentence = field.metadata["help"].replace("%", "%%") + " Default: %(default)s."
        parser.add_argument(option, default=field.default, help=sentence, **kind)
    parser.add_argument(
        "--checkpoint", type=Path, help="file to resume from; default: in results/runs/training"
    )
    parser.add_argument(
        "--output", type=Path, default=CHECKPOINTS, help="folder of the weight file and its JSON"
    )
    return parser.parse_args(arguments)


def command_of(config: TrainingConfig) -> str:
    """The command that repeats a run: the options that differ from their defaults."""
    words = ["python", "-m", "mcuq_lab.models.train"]
    for field in fields(TrainingConfig):
        value = getattr(config, field.name)
        option = "--" + field.name.replace("_", "-")
        if field.name == "data_root":
            words += [] if value is None else [option, "FOLDER"]
        elif field.type is bool:
            words += [option] if value else []
        elif value != field.default or field.name in ("model", "data", "epochs", "seed"):
            words += [option, str(value)]
    return shlex.join(words)


def run(options: argparse.Namespace) -> Provenance:
    """Train as the options say, write the weight file, return its provenance."""
    config = TrainingConfig(**{f.name: getattr(options, f.name) for f in fields(TrainingConfig)})
    checkpoint = options.checkpoint or Path(
        f"results/runs/training/{config.model}-{config.data}-{config.epochs}-{config.seed}.pt"
    )
    revision = git_revision()
    dataset = load_dataset(config.data, config.data_root)
    start_s = time.monotonic()

    def report(epoch: EpochReport, net: nn.Module) -> None:
        print(
            f"epoch {epoch.epoch:3d}  loss {epoch.train_loss:.4f}  validation "
            f"{100 * epoch.validation_accuracy:.2f} %  lr x{epoch.lr_ramp:.2f}  "
            f"{time.monotonic() - start_s:.0f} s",
            flush=True,
        )

    net = as_stored(
        train_model(
            config,
            dataset=dataset,
            checkpoint=checkpoint,
            on_epoch=report,
            progress=sys.stderr.isatty(),
        )
    )
    provenance = Provenance(
        model=config.model,
        data=config.data,
        command=command_of(config),
        config=asdict(config) | {"data_root": None},
        epochs_done=config.epochs,
        git_revision=revision,
        torch_version=torch.__version__,
        test_accuracy=accuracy(net, dataset.test_images, dataset.test_labels),
        test_images=len(dataset.test_labels),
        validation_accuracy=accuracy(net, dataset.validation_images, dataset.validation_labels),
        validation_images=len(dataset.validation_labels),
        data_note=dataset.provenance,
        seconds=round(time.monotonic() - start_s, 1),
    )
    path = save_trained(net, provenance, options.output)
    print(f"{path}: test accuracy {100 * provenance.test_accuracy:.2f} % ({dataset.provenance})")
    return provenance


def main() -> int:
    tune_allocator()
    options = parse(sys.argv[1:])
    try:
        run(options)
    except McuqError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
