"""Verdicts on the poster's claims: each can come out either way, on numbers made up for it."""

import json

import pytest

from mcuq_lab.claims import fastest_keeping_accuracy, gains_of_packing, judge, summarise
from mcuq_lab.claims_table import claims_document, claims_page
from mcuq_lab.published import mlperf_tiny, poster_claims


def row(engine, policy, cycles, accuracy=0.88, *, sram=50_000, flash=90_000, model="resnet8"):
    return {
        "model": model,
        "data": "cifar10",
        "policy": policy,
        "origin": "post-training",
        "engine": engine,
        "board": "nucleo_f412zg",
        "simulated": True,
        "cycles": cycles,
        "sram_peak_bytes": sram,
        "flash_total_bytes": flash,
        "accuracy": accuracy,
        "float_accuracy": None if accuracy is None else 0.885,
        "n_images": 1000,
        "note": f"how {engine} was run",
    }


@pytest.fixture
def rows():
    return [
        row("liteengine", "w8a8", 12_000_000, 0.885, sram=40_000, flash=100_000),
        row("liteengine", "w4a4", 6_000_000, 0.876, sram=20_000, flash=60_000),
        row("liteengine", "w2a2", 5_000_000, 0.7, sram=12_000, flash=50_000),
        row("cmsis_nn", "w8a8", 30_000_000, 0.884),
        row("cmix_nn", "w8a8", 32_000_000, 0.885),
        row("cmix_nn", "w4a4", 36_000_000, 0.876, sram=25_000, flash=45_000),
        row("cmix_nn", "w2a2", 37_000_000, 0.7, sram=13_000, flash=30_000),
        row("tinyengine", "w8a8", 9_000_000, 0.89),
    ]


def found(judgements, claim, against, basis="fastest", policy="w4a4"):
    (judgement,) = (
        j
        for j in judgements
        if (j.claim, j.against, j.basis, j.policy) == (claim, against, basis, policy)
    )
    return judgement


def test_our_policy_is_the_fastest_that_keeps_the_accuracy(rows):
    assert fastest_keeping_accuracy(rows[:3])["policy"] == "w4a4"
    # Exactly one point is kept, a thousandth more is not.
    assert fastest_keeping_accuracy([row("liteengine", "w4a4", 1, 0.875)]) is not None
    assert fastest_keeping_accuracy([row("liteengine", "w4a4", 1, 0.8749)]) is None


def test_speed_is_reached_missed_or_beaten(rows):
    judgements = judge(rows)
    cmsis = found(judgements, "speed", "cmsis_nn")
    assert (cmsis.measured, cmsis.verdict) == (5.0, "reached")
    assert (cmsis.low, cmsis.high) == (1.6, 3.0)
    tiny = found(judgements, "speed", "tinyengine")
    assert (tiny.measured, tiny.verdict) == (1.5, "not reached")
    slow = judge([rows[0], row("tinyengine", "w8a8", 11_000_000)])
    beaten = found(slow, "speed", "tinyengine", policy="w8a8")
    assert beaten.measured < 1
    assert beaten.verdict == "beaten by TinyEngine (re-implementation)"


def test_each_engine_stands_at_its_best_policy_for_the_claim(rows):
    judgements = judge(rows)
    speed = found(judgements, "speed", "cmix_nn")
    assert (speed.against_policy, speed.measured) == ("w8a8", 32 / 6)
    # Its smallest policy is w2a2, but that loses the accuracy.
    sram = found(judgements, "peak SRAM", "cmix_nn")
    assert (sram.against_policy, sram.measured, sram.verdict) == ("w4a4", 1.25, "not reached")
    flash = found(judgements, "flash", "cmix_nn")
    assert (flash.measured, flash.verdict) == (0.75, "beaten by CMix-NN (re-implementation)")


def test_uniform_policies_are_compared_at_the_same_policy_or_int8_whichever_is_better(rows):
    judgements = judge(rows)
    # CMix-NN is faster at int8, and smaller at the same policy.
    assert found(judgements, "speed", "cmix_nn", "uniform").against_policy == "w8a8"
    assert found(judgements, "peak SRAM", "cmix_nn", "uniform").against_policy == "w4a4"
    assert found(judgements, "speed", "cmsis_nn", "uniform").against_policy == "w8a8"
    w2a2 = found(judgements, "peak SRAM", "cmix_nn", "uniform", "w2a2")
    assert w2a2.measured == pytest.approx(13 / 12)


def test_accuracy_is_judged_beside_float_and_beside_int8(rows):
    judgements = judge(rows)
    kept = found(judgements, "accuracy", "float")
    assert (kept.measured, kept.verdict) == (-0.9, "reached")
    beaten = found(judgements, "accuracy", "tinyengine")
    assert (beaten.measured, beaten.verdict) == (-1.4, "beaten by TinyEngine (re-implementation)")
    lost = found(judgements, "accuracy", "float", "uniform", "w2a2")
    assert (lost.measured, lost.verdict) == (-18.5, "not reached")


def test_untrained_networks_have_no_verdict_on_accuracy():
    rows = [row("liteengine", "w8a8", 10, None), row("cmsis_nn", "w8a8", 30, None)]
    judgements = judge(rows)
    assert {j.basis for j in judgements} == {"uniform"}
    assert {j.verdict for j in judgements if j.claim == "accuracy"} == {"not measured"}
    assert found(judgements, "speed", "cmsis_nn", "uniform", "w8a8").measured == 3
    assert summarise(judgements) == ()


def test_summary_counts_verdicts_and_spans_what_was_measured(rows):
    by_claim = {line.claim: line for line in summarise(judge(rows))}
    speed = by_claim["speed"]
    assert (speed.lowest, speed.highest) == (1.5, 32 / 6)
    assert (speed.reached, speed.not_reached, speed.beaten) == (2, 1, 0)
    assert by_claim["flash"].beaten == 1
    assert (by_claim["accuracy"].reached, by_claim["accuracy"].beaten) == (3, 1)


def test_packing_is_compared_with_our_own_int8(rows):
    w4a4, w2a2 = gains_of_packing(rows)
    assert (w4a4.speed, w4a4.sram, w4a4.flash) == pytest.approx((2.0, 2.0, 100 / 60))
    assert (w4a4.accuracy_points, w2a2.accuracy_points) == (-0.9, -18.5)


def test_page_and_document_hold_the_verdicts(rows):
    document = {"rows": rows, "sysclk_hz": 16_000_000, "flash_wait_states": 0, "command": "x"}
    page = claims_page(document)
    assert "| speed | 1.6 to 3x | 1.5 to 5.3x | 2 of 3 | 1 | 0 |" in page
    assert "0.75x, beaten by it (w4a4)" in page
    assert "simulated nucleo_f412zg at 16 MHz, 0 wait states" in page
    assert "- TinyEngine (re-implementation), resnet8: how tinyengine was run." in page
    plain = json.loads(json.dumps(claims_document(document), allow_nan=False))
    assert {j["verdict"] for j in plain["judgements"]} >= {"reached", "not reached"}
    assert "command" not in plain


def test_published_numbers_name_their_sources():
    claims = poster_claims()
    assert (str(claims.speed), str(claims.memory)) == ("1.6 to 3x", "1.5 to 2.8x")
    assert (len(claims.engines), claims.networks) == (3, 4)
    published = mlperf_tiny()
    assert published.network == "resnet8"
    assert "mlcommons/tiny_results" in published.source
    assert "wait states" in published.caveat
    by_stack = {(result.stack, result.board): result for result in published.results}
    cube = by_stack["X-CUBE-AI 9.0", "NUCLEO-L4R5ZI"]
    assert (cube.latency_ms, cube.cycles) == (165.1, 19_812_000)
    assert all(result.latency_ms > 0 and result.core for result in published.results)
