"""Drawings and words of the page."""

import re

import pytest

from seatrial.evals.report import plots, view
from seatrial.evals.report.wording import amount, clip, duration, interval, moment, size, visible
from tests.report_results import (
    results,
    verdicts,
)


def test_the_loss_curve_leaves_out_what_was_not_logged() -> None:
    history = [{"step": 1, "loss": 2.0}, {"step": 2, "eval_loss": 0.75}, {"step": 3, "loss": None}]
    drawn = plots.loss_curve(history)
    assert drawn
    assert "training, 2.000 at the end" in drawn
    assert "evaluation, 0.750 at the end" in drawn
    assert plots.loss_curve([{"step": 3, "train_loss": 0.5}]) is None


def test_the_latency_drawing_marks_the_percentiles() -> None:
    timings = [{"case": f"c{n}", "seconds": float(n), "first_token_seconds": n / 10} for n in range(1, 22)]
    drawn = plots.latency(timings)
    assert drawn
    for words in ("p50 11 s", "p95 20 s", "p50 1.1 s", "p95 2 s", ">c21<"):
        assert words in drawn


def test_many_timed_cases_are_drawn_without_names() -> None:
    timings = [{"case": f"c{n}", "seconds": 1.0, "first_token_seconds": None} for n in range(300)]
    drawn = plots.latency(timings)
    assert drawn
    assert ">c21<" not in drawn
    assert "first token" not in drawn


@pytest.mark.filterwarnings("error")
def test_long_names_leave_room_for_the_drawing() -> None:
    drawn = plots.latency([{"case": "x" * 5000, "seconds": 1.0, "first_token_seconds": 0.1}])
    assert drawn
    assert "x" * 29 + "…" in drawn


def test_accuracy_bars_leave_out_what_is_no_share() -> None:
    rows = view.side_by_side(verdicts(), [])["rows"]
    drawn = plots.accuracy_bars(rows, view.MODELS)
    assert drawn
    assert "accuracy" in drawn
    assert "perplexity" not in drawn
    assert plots.accuracy_bars([row for row in rows if row["unit"] != "share"], view.MODELS) is None


def test_drawings_take_their_colours_from_the_page() -> None:
    drawn = plots.loss_curve(results()["adapter_history"])
    assert drawn
    assert "var(--plot-shipped, #1c6a9e)" in drawn
    assert drawn.startswith("<svg")
    assert not re.search("<metadata|<style", drawn)


def test_a_persons_own_matplotlib_settings_change_nothing() -> None:
    import matplotlib

    before = plots.latency(results()["timings"])
    with matplotlib.rc_context({"lines.linewidth": 9, "font.size": 30, "svg.fonttype": "path"}):
        assert plots.latency(results()["timings"]) == before
        assert matplotlib.rcParams["font.size"] == 30


@pytest.mark.parametrize(
    ("value", "unit", "sign", "words"),
    [
        (0.9, "share", False, "90 %"),
        (0.8333, "share", False, "83.3 %"),
        (0.9946, "share", False, "99.46 %"),
        (1.0, "share", False, "100 %"),
        (0.0, "share", False, "0 %"),
        (-0.355, "share", True, "\N{MINUS SIGN}35.5 percentage points"),
        (0.1, "share", True, "+10 percentage points"),
        (0.105454, "GB", False, "0.105 GB"),
        (1234.6, "", False, "1,235"),
        (-0.0, "s", True, "0 s"),
        (None, "s", False, "not a number"),
    ],
)
def test_amounts_are_rounded_with_sense(value: float | None, unit: str, sign: bool, words: str) -> None:
    assert amount(value, unit, sign) == words


def test_other_words() -> None:
    assert interval(0.531, 0.888, "share") == "53.1 to 88.8 %"
    assert interval(None, 0.888, "share") == ""
    assert [duration(seconds) for seconds in (3.94, 59.99, 402.6, 7384)] == [
        "3.9 s",
        "60.0 s",
        "6 min 43 s",
        "2 h 3 min",
    ]
    assert [size(count) for count in (912, 214_882, 105_453_984, 5 * 10**9)] == [
        "912 bytes",
        "215 kB",
        "105 MB",
        "5 GB",
    ]
    assert moment("2026-11-21T13:00:00Z") == "2026-11-21 13:00:00 UTC"
    assert moment("yesterday") == "yesterday"
    assert clip("short") == "short"
    assert visible("naïve café 👍 日本 \t\n") == "naïve café 👍 日本 \t\n"
