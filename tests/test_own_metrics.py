"""A metric of the user's own that goes wrong, through the whole gate: what it could not judge is not evaluated,
and is neither a miss nor a zero nor a traceback.

python -m pytest tests/test_own_metrics.py
"""

from __future__ import annotations

import pytest

CRITERION = """
[[criteria]]
id = "OWN"
title = "A measure of our own"
metric = "polite"
cases = "domain"
at_least = 0.5
why = "test"
"""
METRIC = """from seatrial.evals.metrics import metric, scored


@metric(expects=("operation",))
def polite(case, generation, criterion, evidence):
    '''Share of polite answers.'''
    {line}
    return scored(case, generation, True, "not polite", "polite")
"""


@pytest.fixture
def own(gate):
    """The miniature with a criterion of a metric of its own, one line of which is given."""

    def own(line: str) -> None:
        (gate.task / "metrics.py").write_text(METRIC.format(line=line), encoding="utf-8")
        path = gate.task / "task.toml"
        head, mark, rest = path.read_text(encoding="utf-8").partition("[[criteria]]")
        path.write_text(head + CRITERION + mark + rest, encoding="utf-8")

    return own


@pytest.mark.parametrize("workers", [0, 2])
def test_a_metric_that_raises_leaves_its_criterion_unevaluated(gate, own, workers):
    own("1 / (case.id != 'domain-on-2')")
    run = gate(workers=workers)
    assert run.status == 10, run.output
    verdict = next(v for v in run.results["verdicts"] if v["criterion"] == "OWN")
    assert verdict["status"] == "NOT EVALUATED"
    assert "metrics.py:7: the metric 'polite' raised ZeroDivisionError at the case domain-on-2" in run.output
    assert "Traceback" not in run.output
    assert run.results["tests"]["failed"] == run.results["tests"]["errors"] == 0


def test_a_hard_case_that_it_could_not_judge_stands_against_shipping(gate, own):
    own("1 / 0")
    gate.add_case("regressions", "hard-1", "lamp on", "on")
    run = gate()
    assert run.status == 10, run.output
    assert run.results["hard_cases"]["not_evaluated"] == ["hard-1"]
    assert run.results["hard_cases"]["missed"] == []


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("return scored(case, generation, float('nan'), '', '')", "it scored nan, where 0 to 1 counts"),
        ("return scored(case, generation, 3.0, '', '')", "it scored 3.0, where 0 to 1 counts"),
        ("return True", "it returned True, no score"),
    ],
)
def test_what_is_no_score_is_told(gate, own, line, told):
    own(line)
    run = gate()
    assert run.status == 10, run.output
    assert "the metric 'polite' raised" in run.output
    assert told in run.output


def test_it_covers_no_part_of_the_standard_core(gate, own):
    own("pass")
    gate.edit("@metric(", "@metric(covers='stopping', ", name="metrics.py")
    run = gate(fault="never-stops")
    assert run.status == 4
    run.lines.fnmatch_lines(
        ["ERROR: *metrics.py:4: *'polite' says that it covers 'stopping'*[[]waivers[]] stopping = *"]
    )
