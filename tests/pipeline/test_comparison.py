"""Ratios to the baselines of the same run."""

from mcuq_lab.comparison import with_ratios


def row(engine: str, policy: str, cycles: int, layer: str = "c3_8x4_4") -> dict:
    return {"layer": layer, "engine": engine, "policy": policy, "cycles": cycles}


def test_a_baseline_is_taken_at_the_same_policy_or_at_int8_where_that_is_faster():
    rows = [
        row("cmsis_nn", "w8a8", 1000),
        row("cmix_nn", "w8a8", 1200),
        row("cmix_nn", "w4a4", 1400),
        row("cmix_nn", "w2a2", 900),
        row("liteengine", "w8a8", 500),
        row("liteengine", "w4a4", 200),
        row("liteengine", "w2a2", 100),
        row("liteengine", "w4a4", 300, "another"),
    ]
    found = with_ratios(rows, "layer")
    assert [{key: r[key] for key in rows[0]} for r in found] == rows
    of_baselines, ours = found[:4], found[4:]
    assert [r["ratio_cmsis_nn"] for r in ours] == [2.0, 5.0, 10.0, None]
    assert [r["ratio_cmix_nn"] for r in ours] == [2.4, 6.0, 9.0, None]
    assert [r["ratio_cmsis_nn"] for r in of_baselines] == [
        1.0,
        1000 / 1200,
        1000 / 1400,
        1000 / 900,
    ]
    assert [r["ratio_cmix_nn"] for r in of_baselines[1:]] == [1.0, 1.0, 1.0]
    assert all(r["ratio_tinyengine"] is None for r in found)


def test_an_official_library_is_compared_where_it_was_run():
    rows = [row("cmsis_nn_official", "w8a8", 900), row("liteengine", "w8a8", 300)]
    assert [r["ratio_cmsis_nn_official"] for r in with_ratios(rows, "layer")] == [1.0, 3.0]
    assert "ratio_cmsis_nn_official" not in with_ratios(rows[1:], "layer")[0]
