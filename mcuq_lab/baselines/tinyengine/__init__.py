"""TinyEngine's int8 algorithms, written anew from what is published about them.

Sources: Lin et al., "MCUNet: Tiny Deep Learning on IoT Devices", NeurIPS 2020, section 3.2; Lin et
al., "MCUNetV2", NeurIPS 2021: code generated for each layer, unrolled loops, depthwise in place.
"""

from mcuq_lab.baselines.tinyengine.codegen import ENGINE_NAME, generate
from mcuq_lab.baselines.tinyengine.executor import run_integers
from mcuq_lab.baselines.tinyengine.reference import run_reference

__all__ = ["ENGINE_NAME", "generate", "run_integers", "run_reference"]
