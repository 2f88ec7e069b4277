"""The host runner gives the network's outputs, and a sanitizer's report when its C is wrong."""

import numpy as np
import pytest

from mcuq_lab.bench import run_on_host
from mcuq_lab.errors import BuildError, NumericsError


def test_outputs_equal_numpy(tiny, cache):
    for sanitize in (True, False):
        outputs = run_on_host(tiny.sources, tiny.inputs, sanitize, cache=cache)
        np.testing.assert_array_equal(outputs, tiny.expected(tiny.inputs))


def test_arena_overrun_is_reported_with_its_place(tiny, cache):
    sources = tiny.make(add=tiny.texts["add"].replace("mcuq_arena[24 + i]", "mcuq_arena[60 + i]"))
    with pytest.raises(NumericsError, match=r"layer_add\.c:6"):
        run_on_host(sources, tiny.inputs, cache=cache)


def test_signed_overflow_is_reported_with_its_place(tiny, cache):
    add = tiny.texts["add"].replace("(mcuq_arena[i] + 3u)", "((mcuq_arena[i] + 0x7fffffff) >> 8)")
    with pytest.raises(NumericsError, match=r"layer_add\.c:6.*signed integer overflow"):
        run_on_host(tiny.make(add=add), tiny.inputs, cache=cache)


def test_write_beyond_the_output_is_reported(tiny, cache):
    model = tiny.texts["model"].replace("MCUQ_OUTPUT_BYTES);", "MCUQ_OUTPUT_BYTES + 1);")
    with pytest.raises(NumericsError, match="heap-buffer-overflow"):
        run_on_host(tiny.make(model=model), tiny.inputs, cache=cache)


def test_a_read_before_a_write_does_not_see_the_inference_before(tiny, cache):
    add = tiny.texts["add"].replace("(mcuq_arena[i] + 3u)", "(++mcuq_arena[50])")
    first = run_on_host(tiny.make(add=add), tiny.inputs[:1], cache=cache)
    again = run_on_host(tiny.make(add=add), tiny.inputs[:2], cache=cache)
    np.testing.assert_array_equal(again, np.concatenate([first, first]))


def test_inputs_of_a_wrong_size_are_refused(tiny, cache):
    with pytest.raises(NumericsError, match="one input has 12 bytes, the network takes 24"):
        run_on_host(tiny.sources, np.zeros((2, 12), np.uint8), cache=cache)
    with pytest.raises(NumericsError, match="shape"):
        run_on_host(tiny.sources, np.zeros(24, np.uint8), cache=cache)


def test_a_warning_is_an_error_with_its_place(tiny, cache):
    add = tiny.texts["add"].replace("for (int i", "int unused; for (int i")
    with pytest.raises(BuildError, match=r"layer_add\.c:5.*unused"):
        run_on_host(tiny.make(add=add), tiny.inputs, cache=cache)


def test_a_hang_is_ended(tiny, cache):
    add = tiny.texts["add"].replace("++i", "i += 0")
    with pytest.raises(NumericsError, match="did not end"):
        run_on_host(tiny.make(add=add), tiny.inputs, cache=cache, timeout_s=0.5)
