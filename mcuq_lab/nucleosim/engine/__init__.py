"""The instruction engine: executes Thumb code on Unicorn and counts its cycles."""
