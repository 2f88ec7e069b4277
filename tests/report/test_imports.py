"""Who reads results, or only begins a command, must not wait for what measures and draws."""

import subprocess
import sys

SLOW = {"torch", "numba", "pyocd", "matplotlib", "sklearn", "scipy", "ray"}


def loaded_by(*modules: str) -> set[str]:
    """The slow packages that importing `modules` in a new process loads."""
    program = f"import sys, {', '.join(modules)}; print(*({SLOW} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_reading_results_loads_nothing_slow():
    modules = ("engines", "claims_table", "frames", "report", "liteengine", "rlquant.proposers")
    assert loaded_by(*(f"mcuq_lab.{module}" for module in modules)) == set()


def test_the_start_of_a_command_loads_only_what_it_needs():
    assert loaded_by("mcuq_lab.cli.claims", "mcuq_lab.cli.search") == set()


def test_every_public_name_of_the_bench_can_be_had():
    import mcuq_lab.bench

    for name in mcuq_lab.bench.__all__:
        assert callable(getattr(mcuq_lab.bench, name)), name
