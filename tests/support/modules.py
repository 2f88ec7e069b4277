"""Torch modules that tests bring as a user's own."""

from __future__ import annotations

from torch import nn


def small_module(channels: int) -> nn.Module:
    """A convolution of one input channel, and a classifier of three classes, for any image size."""
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, 3),
    )
