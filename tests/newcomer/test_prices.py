"""Prices beside a task: a mistake is told before anything is asked; costs and failures reach the record."""

import json
import subprocess

import pytest

GATE = 'pytest -m release --program="python %s"'
UNSURE = """import json, sys
for number, line in enumerate(sys.stdin):
    text = "" if number % 3 == 0 else "I cannot help with that."
    print(json.dumps({"text": text, "completion_tokens": 5 if text else 0, "stop_reason": "eos"}))
"""


@pytest.fixture
def task(scratch):
    """A new task, and what is typed in its repository: exit status and output."""
    (scratch / "unsure.py").write_text(UNSURE, encoding="utf-8")

    def shell(line):
        done = subprocess.run(["bash", "-c", line], cwd=scratch, capture_output=True, text=True, timeout=300)
        return done.returncode, done.stdout + done.stderr

    shell("seatrial new tickets --labels=billing,bug --judges=program")
    return scratch, shell


def test_a_mistake_in_the_prices_ends_the_run_before_anything_is_asked(task):
    folder, shell = task
    (folder / "golden" / "tickets" / "prices.toml").write_text("[models.shipped]\nper_hours = 1\n")
    status, said = shell(GATE % "unsure.py")
    assert status == 4, said
    assert "golden/tickets/prices.toml:2: unknown key 'models.shipped.per_hours'" in said
    assert not (folder / "reports" / "tickets").exists()


def test_a_run_leaves_its_sums_its_overview_and_its_failures(task):
    folder, shell = task
    _, said = shell(GATE % "unsure.py")
    record = json.loads((folder / "reports" / "tickets" / "latest" / "results.json").read_text())
    (sums,) = record["answered"]
    assert (sums["model"], sums["answers"], sums["completion_tokens"], sums["prompt_tokens"]) == (
        "shipped",
        10,
        30,
        None,
    ), said
    (row,) = record["overview"]
    assert (row["model"], row["schema_error_rate"], row["cost_per_1000"]) == ("shipped", 1.0, None)
    assert record["prices"] == {}
    causes = {each["cause"]: each["count"] for each in record["failures"]}
    assert causes["empty answer"] == 4
    assert causes["refused wrongly"] == 6
    assert all("answered" not in artifact for artifact in record["artifacts"])
