"""MCUQ: small, fast CNNs on commercial microcontrollers, with the board in the loop.

The straight line through the package, one frozen dataclass between any two stages:

    Graph -> QuantGraph -> Plan -> Sources -> Firmware -> RunOutput -> Measurement -> DataFrame

`mcuq_lab.pipeline` is that line as code; each floor below it is one of its arrows.
"""

__version__ = "0.1.0"
