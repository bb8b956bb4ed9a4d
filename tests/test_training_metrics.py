"""The course of a training is judged from histories of trainings that really went wrong.

python -m pytest tests/test_training_metrics.py
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from seatrial.evals.metrics import METRICS
from seatrial.evals.metrics.training import fall, rise, spikes
from seatrial.evals.verdict import NotEvaluated
from seatrial.training import memory_ladder, steps
from seatrial.training.store import Artifact
from tests.trained_tiny import Tiny, run_here

RATE = "learning_rate"
TRAININGS = {
    "good": {RATE: 1e-2, "epochs": 6},
    "diverges": {RATE: 10.0, "epochs": 6},
    "stalls": {RATE: 1e-9, "epochs": 6},
    "overfits": {RATE: 2e-2, "epochs": 60},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The adapters of these trainings, by name; ``overfits`` has two rows to learn."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (steps, memory_ladder):
            patch.setattr(module, "run_job", run_here)
        tiny = Tiny(tmp_path_factory.mktemp("courses"))
        lines = tiny.rows.read_text(encoding="utf-8").splitlines()
        found = {}
        for name, settings in TRAININGS.items():
            rows = [*lines[:2], *lines[-2:]] if name == "overfits" else lines
            tiny.rows.write_text("\n".join(rows) + "\n", encoding="utf-8")
            found[name] = tiny.train(tiny.recipe(trainer=settings))[2]
        return found


def measured(name, artifact):
    evidence = SimpleNamespace(built=SimpleNamespace(adapter=artifact), use=lambda artifact: artifact)
    return METRICS[name].measure(evidence, SimpleNamespace(settings={}), "shipped")


def made(step="adapter", **history):
    entries = [{key: value} for key, values in history.items() for value in values]
    manifest = {
        "key": "k",
        "step": step,
        "files": {},
        "params": {"trainer": {}},
        "facts": {"history": entries},
    }
    return Artifact(SimpleNamespace(), manifest)


def test_a_good_training_falls_without_spikes(trained):
    (score,) = measured("loss_fall", trained["good"])
    assert score.value > 0.2 and not score.missed
    assert not any(each.missed for each in measured("loss_spikes", trained["good"]))


@pytest.mark.parametrize(
    ("name", "told"), [("diverges", "it diverges: a tenth"), ("stalls", "it stalls: ten times")]
)
def test_a_training_that_learns_nothing_says_which_way_and_what_to_change(trained, name, told):
    (score,) = measured("loss_fall", trained[name])
    assert score.missed and told in score.reason, score


def test_two_rows_learnt_by_heart_are_told_by_the_validation_loss(trained):
    (score,) = measured("validation_rise", trained["overfits"])
    assert score.value > 0.1 and "overfits: fewer epochs" in score.reason
    (fine,) = measured("validation_rise", trained["stalls"])
    assert fine.value < 0.01


def test_with_early_stopping_the_lowest_is_what_was_kept():
    artifact = made(eval_loss=[2.0, 1.0, 3.0])
    assert measured("validation_rise", artifact)[0].value == 2.0
    artifact.manifest["params"]["trainer"]["early_stopping_patience"] = 1
    assert measured("validation_rise", artifact)[0].value == 0.0


def test_a_spike_is_a_jump_by_half_of_the_loss_at_the_start():
    assert spikes([4.0, 3.0, 2.0, 1.0, 3.9, 0.9, 0.8]) == [4]
    assert spikes([4.0, 3.0, 2.0, 0.001, 0.003, 0.001]) == []  # noise at the end is three times as much
    assert spikes([4.0, math.nan, 2.0]) == [1]
    assert spikes([math.nan, math.inf]) == [0, 1]


def test_a_loss_that_is_no_number_fell_nowhere_and_rose():
    assert fall([3.0, math.nan, 1.0, 1.0]) == -1.0
    assert rise([1.0, math.nan], 1.0) == 1.0
    (score,) = measured("loss_fall", made(loss=[3.0, None, None, None]))  # as a document holds NaN
    assert score.missed and "diverges" in score.reason


@pytest.mark.parametrize("name", ["loss_fall", "loss_spikes", "validation_rise"])
@pytest.mark.parametrize("artifact", [None, made(step="given-adapter"), made(loss=[1.0], eval_loss=[1.0])])
def test_without_a_course_nothing_is_evaluated(name, artifact):
    with pytest.raises(NotEvaluated):
        measured(name, artifact)
