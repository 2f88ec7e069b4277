"""`mcuq finalize`: full training, test accuracy, measurement and C of a search's best policies."""

from __future__ import annotations

from typing import Annotated

import typer
from tqdm import tqdm

from mcuq_lab.cli import options
from mcuq_lab.cli.output import command, emit, new_app, say, stdout_is_stderr
from mcuq_lab.cli.search import find_run
from mcuq_lab.models.allocator import tune_allocator
from mcuq_lab.policy import Policy
from mcuq_lab.results import FINALS, Row, read_rows
from mcuq_lab.rlquant.finals import FinalConfig, FinalProgress, finalize

COLUMNS = (
    *("policy", "status", "accuracy_search", "accuracy_validation", "accuracy_test"),
    *("cycles", "sram_peak_bytes", "flash_total_bytes", "bit_exact"),
)

app = new_app()


@app.command("finalize")
@command
def finalize_command(
    run: Annotated[str, typer.Argument(help="A search's run: its id, or its directory.")],
    policies: Annotated[int, typer.Option(help="The best so many policies of its front.")] = 5,
    epochs: Annotated[
        int, typer.Option(help="Passes of training over all training images.")
    ] = FinalConfig.epochs,
    seed: options.Seed = 0,
    as_json: options.Json = False,
) -> None:
    """Trains the best policies of a search in full; test accuracy, board and C follow.

    Everything goes into the run's folder, below finals/. Interrupt at any time: the same command
    goes on after the last whole epoch.
    """
    tune_allocator()
    run_dir = find_run(run)
    with stdout_is_stderr(), tqdm(unit="batch", mininterval=1.0) as bar:

        def show(at: FinalProgress) -> None:
            if at.batches == 1 or bar.total is None:
                bar.reset(at.of_batches)
                bar.initial = at.batches - 1  # a resumed training begins in the middle
                bar.n = at.batches - 1
            bar.set_description(f"policy {at.number} of {at.total}", refresh=False)
            bar.set_postfix_str(f"loss {at.loss:.3f}", refresh=False)
            bar.update(at.batches - bar.n)

        rows = finalize(run_dir, policies, FinalConfig(epochs, seed), show)
    searched = {row.policy: row for row in read_rows(run_dir)}
    document = [describe(row, searched[row.policy]) for row in rows]
    for entry, row in zip(document, rows, strict=True):
        entry["folder"] = str(run_dir / FINALS / f"{row.evaluation:04d}")
    if as_json:
        emit({"run": str(run_dir), "finals": document}, True)
    else:
        emit(document, False, COLUMNS)
        say(f"C and states: {run_dir / FINALS}; figures: mcuq report {run_dir.name}")


def describe(final: Row, searched: Row) -> dict:
    """A final row beside the row that the search had measured of the same policy."""
    return {
        "policy": str(Policy.of(final.policy)),
        "status": final.status,
        "accuracy_search": searched.accuracy_quick,
        "accuracy_validation": final.accuracy_quick,
        "accuracy_test": final.accuracy_full,
        "cycles": final.cycles_median,
        "sram_peak_bytes": final.sram_peak_bytes,
        "flash_total_bytes": final.flash_total_bytes,
        "bit_exact": final.bit_exact,
    }
