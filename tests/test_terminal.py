"""What a person sees while and after a run.

python -m pytest tests/test_terminal.py
"""

from __future__ import annotations

import re

import pytest

from tests.conftest import Gate, Run


@pytest.fixture(scope="module")
def two_missed(tmp_path_factory: pytest.TempPathFactory, store, forked) -> Run:
    """SC-1 alone, verbose and without a gate: two of its ten cases ask for what a perfect program does not do."""
    gate = Gate(tmp_path_factory.mktemp("two_missed"), store, forked)
    for identifier in ("domain-on-1", "domain-off-2"):
        path = gate.task / "cases" / "domain.jsonl"
        path.write_text(
            re.sub(
                rf'(?m)("id": "{identifier}".*"operation": )"\w+"',
                r'\1"none"',
                path.read_text(encoding="utf-8"),
            ),
            encoding="utf-8",
        )
    return gate("-v", modules=("seatrial/evals/suite/test_criteria.py",), marked=None)


def test_a_missed_case_is_an_m(wrong):
    wrong.lines.fnmatch_lines(["*mmmmmmmm..F.*"])


def test_a_missed_case_is_called_missed_when_verbose(two_missed):
    two_missed.lines.fnmatch_lines(
        [
            "seatrial/evals/suite/test_criteria.py::test_case[[]SC-1-domain-on-2[]] PASSED *",
            "seatrial/evals/suite/test_criteria.py::test_case[[]SC-1-domain-off-2[]] MISSED *",  # on-1 may hold progress lines
        ]
    )


def test_the_last_line_counts_missed_cases(two_missed):
    last = two_missed.output.strip().splitlines()[-1]
    assert re.search(r"= 1 failed, 85 passed, 1 skipped, (\d+ warnings?, )?4 missed in .*=$", last)


def test_missed_cases_are_shown_with_place_question_and_answer(two_missed):
    two_missed.lines.fnmatch_lines(
        [
            "*= missed, without failing the run =*",
            "domain-on-1 MISSED (*/cases/domain.jsonl:1)",
            "  asked:    please put the lamp on",
            "  expected: none",
            "  because:  *",
            '  answered: {"operation": "on", *',
        ]
    )


def test_only_the_first_missed_cases_are_shown_unless_verbose(wrong):
    missed = wrong.results["tests"]["missed"]
    assert missed > 10
    assert wrong.output.count(" MISSED (") == 10
    wrong.lines.fnmatch_lines([f"... and {missed - 10} more; -v shows all, as does the report"])


def test_a_failing_criterion_prints_what_was_required_why_and_what_was_measured(wrong):
    wrong.lines.fnmatch_lines(
        [
            "*SC-1 FAIL: The right operation",
            "*  required: accuracy >= 90 %",
            "*  because:  A wrong switch is worse than none.",
            "*  measured: shipped 20 % [[]5.668 % to 50.98 %[]], n = 10, Wilson",
            "*  missed domain-on-1 (*/cases/domain.jsonl:1): *",
            "*    asked:    please put the lamp on",
            "*    expected: on",
            '*    answered: {"operation": "off"*',
            "*  missed domain-on-2 (*/cases/domain.jsonl:2): *",
            "*  next:     add training rows",
        ]
    )


def test_a_failing_comparison_prints_both_models_and_their_difference(wrong):
    wrong.lines.fnmatch_lines(
        [
            "*SC-3.operations FAIL: Better than the base",
            "*  measured: shipped 20 % [[]*[]], n = 10, Wilson",
            "*  measured: base 20 % [[]*[]], n = 10, Wilson",
            "*  compared: difference 0 % [[]*[]], p = 1, n = 10, Tango score interval, exact McNemar test",
        ]
    )


def test_a_failing_criterion_prints_no_internals(wrong):
    assert "Verdict(" not in wrong.output
    assert "Observation(" not in wrong.output


def test_the_gate_section_lists_every_criterion_in_the_tasks_order_when_verbose(gate):
    run = gate("-v", fault="curt")
    section = run.output.partition("seatrial gate")[2].partition("\nagainst shipping: ")[0]
    listed = re.findall(
        r"(?m)^ *(PASS|FAIL|NOT EVALUATED|INCONCLUSIVE)  (\S+?)(?: \(not required\))?: ", section
    )
    assert listed == [(verdict["status"], name) for name, verdict in run.verdicts.items()]
    assert f"{run.decision} (exit status {run.status})" in run.output


def test_a_group_that_passed_whole_takes_one_line(perfect):
    perfect.lines.fnmatch_lines(
        [
            "         PASS  SCHEMA: all 2 passed (parses, valid)",
            "         PASS  EOS: all 2 passed (stopped, repetition)",
        ]
    )
    assert "EOS.stopped" not in perfect.output.partition("seatrial gate")[2]


def test_the_gate_section_gives_value_interval_and_requirement(perfect):
    perfect.lines.fnmatch_lines(
        [
            "*= seatrial gate =*",
            "         PASS  SC-1: 100 % [[]72.25, 100[]]; needs >= 90 %; n = 10",
            "NOT EVALUATED  SC-3.perplexity (not required): a program was judged, which has no file and no train…",
        ]
    )


def test_the_gate_section_names_what_stands_against_shipping(wrong):
    wrong.lines.fnmatch_lines(
        [
            "against shipping: SC-1 FAIL",
            "against shipping: SC-3.operations FAIL",
            "against shipping: LAMP FAIL",
            "DO NOT SHIP (exit status 1)",
        ]
    )


def test_progress_comes_through_capture_as_plain_lines(perfect):
    for what in ("shipped on domain", "shipped on heldout", "base on domain"):
        assert re.search(rf"(?m)^seatrial: generations of {what} built in \d+:\d\d$", perfect.output)
    assert "\r" not in perfect.output
    assert "\x1b" not in perfect.output
