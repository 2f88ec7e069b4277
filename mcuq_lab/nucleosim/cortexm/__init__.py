"""The ARMv7-M system around the instruction engine: exceptions, debug control, private bus."""
