"""The decision stands first, in words that the results bear out."""

import re

import pytest

from seatrial.evals.report import render
from seatrial.evals.report.attribution import is_step
from tests.page import Page
from tests.report_results import (
    failing,
    inconclusive,
    refused,
    results,
    unevaluated,
)


def heading(html: str) -> str:
    """The decision in large letters with its class."""
    found = re.search(r'<h2 class="(is-\w+)">.*?</svg>\s*([A-Z ]+)</h2>', html, re.DOTALL)
    assert found, "the page has no decision"
    return f"{found[1]} {found[2].strip()}"


@pytest.mark.parametrize(
    ("run", "decision", "because"),
    [
        (results(), "is-ship SHIP", "Every required criterion passed"),
        (refused(1, failing()), "is-fail DO NOT SHIP", "Something required failed"),
        (
            refused(10, unevaluated()),
            "is-none DO NOT SHIP",
            "Incomplete: something required was not evaluated",
        ),
        (
            refused(11, inconclusive()),
            "is-open DO NOT SHIP",
            "Inconclusive: the cases are too few to decide",
        ),
        (refused(3), "is-none DO NOT SHIP", "Incomplete: pytest had an internal error"),
        (refused(99), "is-none DO NOT SHIP", "Incomplete: the run ended in an unknown way"),
    ],
    ids=["ship", "failed", "incomplete", "inconclusive", "crashed", "unknown"],
)
def test_the_decision_stands_first(run: dict, decision: str, because: str) -> None:
    html = render(run)
    assert heading(html) == decision
    verdict_text = Page(html).text("verdict")
    assert verdict_text.startswith(f"{decision.partition(' ')[2]} {because}")
    for reason in run["gate"]["reasons"]:
        assert reason in verdict_text
    assert f"<title>{decision.partition(' ')[2]}: " in html


@pytest.mark.parametrize(
    "change",
    [
        {"verdicts": [failing()]},
        {"verdicts": [unevaluated()]},
        {"gate": {"decision": "SHIP", "exit_status": 1, "reasons": []}},
        {"hard_cases": {"total": 2, "passed": 1, "missed": ["reg-7"], "not_evaluated": []}},
        {"hard_cases": {"total": 2, "passed": 1, "missed": [], "not_evaluated": ["reg-9"]}},
    ],
    ids=["failed", "unevaluated", "exit", "hard", "hard-unevaluated"],
)
def test_never_says_ship_against_its_own_results(change: dict) -> None:
    html = render(results(**change))
    assert heading(html) == "is-fail DO NOT SHIP"
    assert "The gate said SHIP, but its own results contradict it" in html


def test_a_refusal_with_exit_status_0_is_not_dressed_as_a_pass() -> None:
    assert heading(render(refused(0, failing()))) == "is-fail DO NOT SHIP"


def test_the_verdict_names_the_file_and_every_required_criterion(ship: Page) -> None:
    text, run = ship.text("verdict"), results()
    shipped = run["shipped"]
    for fact in (
        shipped["name"],
        shipped["sha256"],
        "105,453,984 bytes",
        "2026-11-21 13:00:00 UTC",
        "llama.cpp",
    ):
        assert fact in text
    for each in run["verdicts"]:
        if not is_step(each):  # steps that passed share a line
            assert (f"{each['status']} {each['criterion']} {each['title']}" in text) is each["required"]
    assert "PASS LOSS.operations Operations understood : training , merge , conversion , quantisation" in text
    assert "Required criteria: 20 of 20 passed" in text
