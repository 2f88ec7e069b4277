"""The instruction tables, by core."""

from tests.nucleosim.qemu.tables.control_flow import CONDITIONS, CONTROL_FLOW
from tests.nucleosim.qemu.tables.data_processing import DATA_PROCESSING
from tests.nucleosim.qemu.tables.floating_point import DOUBLE, FLOATING_POINT
from tests.nucleosim.qemu.tables.memory import MEMORY
from tests.nucleosim.qemu.tables.multiply import MULTIPLY
from tests.nucleosim.qemu.tables.simd import SIMD
from tests.nucleosim.qemu.template import Template

_BOTH = (*DATA_PROCESSING, *MULTIPLY, *SIMD, *MEMORY, *FLOATING_POINT, *CONTROL_FLOW)
TEMPLATES = {"cortex-m4": _BOTH, "cortex-m7": (*_BOTH, *DOUBLE)}


def forms(core: str) -> tuple[Template, ...]:
    """Every form of every template for a core."""
    return tuple(form for template in TEMPLATES[core] for form in template.forms())


__all__ = ["CONDITIONS", "forms"]
