"""Figures of single labels in a whole run: each label is told apart, and one alone can be required.

python -m pytest tests/test_label_figures.py
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from seatrial.evals.task import load_task

TICKETS = Path(__file__).resolve().parents[1] / "golden" / "ticket_labels"
ONE = """
[[criteria]]
id = "FALSE.{label}"
title = "False alarms: {label}"
metric = "{metric}"
cases = "*"
at_most = 0.5
settings = {{ label = "{label}" }}
why = "Each is read by somebody."
"""


@pytest.fixture
def tickets(tmp_path) -> Path:
    return Path(shutil.copytree(TICKETS, tmp_path / "tickets"))


def test_the_figure_of_one_label_can_be_required_and_each_label_has_its_own(gate, tickets):
    labels = ("billing", "spam")
    metrics = dict(zip(labels, ("false_positive_rate", "false_negative_rate"), strict=True))
    with (tickets / "task.toml").open("a") as file:
        file.writelines(ONE.format(label=label, metric=metrics[label]) for label in labels)
    run = gate(task=tickets, program=f"{sys.executable} {TICKETS / 'rules.py'}", base=None)
    verdicts = {verdict["criterion"]: verdict for verdict in run.results["verdicts"]}
    for label, metric in metrics.items():
        verdict = verdicts[f"FALSE.{label}"]
        every = verdicts["LABEL.false-positives" if "positive" in metric else "LABEL.false-negatives"]
        assert verdict["status"] in ("PASS", "FAIL"), verdict["reason"]
        groups = every["measured"]["groups"]
        assert verdict["measured"]["value"] == pytest.approx(groups[label]["value"])
        assert groups == verdict["measured"]["groups"]
        mean = sum(each["value"] for each in groups.values()) / len(groups)
        assert every["measured"]["value"] == pytest.approx(mean)
    assert len({each["value"] for each in groups.values()}) > 1


def test_a_kind_s_criteria_say_which_file_would_be_read_where_a_task_has_no_such_set(tickets):
    for name in ("domain", "edge"):
        (tickets / "cases" / f"{name}.jsonl").unlink()
    absent = [criterion.absent for criterion in load_task(tickets).criteria if criterion.absent]
    assert any("would be it; or waive it" in told for told in absent)
