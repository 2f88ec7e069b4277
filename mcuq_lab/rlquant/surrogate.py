"""What accuracy a policy will have, guessed from the policies measured so far.

A Gaussian process on the quantization noise of each layer (a step of b bits has a variance of about
4^-b). What is lost of accuracy grows by factors with it, so its logarithm is fitted: the few points
that good policies differ by are told apart beside the many that bad ones lose, and nothing is
promised beyond what was seen. Where it is known what each width does alone, policies are compared
by that, too: layer by layer, and in all. Its uncertainty decides what is worth measuring next.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mcuq_lab.policy import MIN_BITS
from mcuq_lab.results import Row
from mcuq_lab.rlquant.space import SearchSpace

if TYPE_CHECKING:
    from sklearn.gaussian_process.kernels import Kernel

_AMPLITUDE_SPAN = 3.0
"""Features of the narrowest policy lie about as far from the widest one's as by widths alone."""
_LEAST_SHARE = 1e-3
"""Of the narrowest policy's noise: differences below it do not count in the logarithm."""

_SMALL_LOSS = 0.02
"""Of accuracy, a fraction of 1: losses far below it look alike, as few images cannot tell them."""


class AccuracySurrogate:
    """A Gaussian process fitted to measured rows.

    Args:
        space: of the policies.
        rows: of which those that succeeded are fitted; there must be at least one.
        seed: of the fit.
        sensitivity: what each width does alone, (L, 2, N_WIDTHS), see `Evaluator`; None if unknown.
    """

    def __init__(
        self,
        space: SearchSpace,
        rows: Sequence[Row],
        seed: int,
        sensitivity: np.ndarray | None = None,
    ) -> None:
        from sklearn.exceptions import ConvergenceWarning  # slow to import
        from sklearn.gaussian_process import GaussianProcessRegressor

        rows = [row for row in rows if row.ok]
        self._space, self._sensitivity = space, sensitivity
        if sensitivity is not None:
            narrowest = space.uniform(MIN_BITS, MIN_BITS)
            most = noise_of(space, sensitivity, narrowest).sum()
            self._most_noise = max(most, np.finfo(np.float64).tiny)
        accuracy = np.array([row.accuracy_quick for row in rows])
        self._most = accuracy.max() + _SMALL_LOSS
        losses = np.log(self._most - accuracy)
        self._mean, self._scale = losses.mean(), max(losses.std(), 1e-3)
        features = self._features(np.array([row.policy for row in rows]))
        self._process = GaussianProcessRegressor(
            _kernel(), normalize_y=False, random_state=seed, alpha=1e-8
        )
        with warnings.catch_warnings():
            # A length scale at its bound means a flat direction, which is fine here.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._process.fit(features, (losses - self._mean) / self._scale)

    def mean(self, bits: np.ndarray) -> np.ndarray:
        """Middle guess of the accuracy of policies (n, L, 2), clipped to [0, 1]; shape (n,)."""
        return self._accuracy(self._process.predict(self._features(bits)))

    def samples(self, bits: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
        """`n` draws of the accuracies of policies (m, L, 2), independent between policies.

        Returns:
            float64 (n, m), clipped to [0, 1].
        """
        guess, deviation = self._process.predict(self._features(bits), return_std=True)
        return self._accuracy(guess + deviation * rng.standard_normal((n, 1)))

    def _accuracy(self, guess: np.ndarray) -> np.ndarray:
        """Of what the process guesses, scaled logarithms of losses."""
        return np.clip(self._most - np.exp(guess * self._scale + self._mean), 0.0, 1.0)

    def _features(self, bits: np.ndarray) -> np.ndarray:
        bits = self._space.canonical(bits)
        # 2^-b, not the variance 4^-b: with that all widths above 4 bits would look alike.
        steps = (2.0 ** (MIN_BITS - bits.astype(np.float64))).reshape(len(bits), -1)
        if self._sensitivity is None:
            return steps
        share = noise_of(self._space, self._sensitivity, bits) / self._most_noise
        total = np.log(share.sum(axis=-1, keepdims=True) + _LEAST_SHARE)
        return np.concatenate([steps, _AMPLITUDE_SPAN * np.sqrt(share), total], axis=-1)


def _kernel() -> Kernel:
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    smooth = ConstantKernel(1.0, (0.05, 50.0)) * Matern(3.0, (0.2, 30.0), nu=2.5)
    return smooth + WhiteKernel(0.01, (1e-4, 0.5))


def noise_of(space: SearchSpace, sensitivity: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """What each width of canonical policies (..., L, 2) does alone, float64 (..., 2 * L).

    A tensor that several layers read counts once, in equal parts.
    """
    index, layers = bits.astype(np.intp) - MIN_BITS, np.arange(space.n_layers)
    groups = space.input_groups
    readers = np.bincount(groups)[groups]
    weights = sensitivity[layers, 0, index[..., 0]]
    activations = sensitivity[layers, 1, index[..., 1]] / readers
    return np.concatenate([weights, activations], axis=-1)
