"""The course of a training is judged from its loss history: a real one that stalled, and written ones.

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


@pytest.fixture(scope="module")
def stalled(tmp_path_factory):
    """An adapter that was trained at a learning rate that changes nothing."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (steps, memory_ladder):
            patch.setattr(module, "run_job", run_here)
        tiny = Tiny(tmp_path_factory.mktemp("courses"))
        return tiny.train(tiny.recipe(trainer={"learning_rate": 1e-9}))[2]


def measured(name, artifact):
    evidence = SimpleNamespace(
        built=SimpleNamespace(adapter=artifact, sft=None), use=lambda artifact: artifact
    )
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


def test_a_training_that_changes_nothing_stalls(stalled):
    (score,) = measured("loss_fall", stalled)
    assert score.missed and "it stalls: ten times" in score.reason, score


def test_a_loss_that_falls_steadily_passes_all():
    good = made(loss=[3.0, 2.0, 1.2, 0.7, 0.4, 0.3], eval_loss=[1.5, 0.8, 0.6])
    for name in ("loss_fall", "loss_spikes", "validation_rise"):
        assert not any(score.missed for score in measured(name, good)), name


def test_a_loss_that_rises_diverges():
    (score,) = measured("loss_fall", made(loss=[2.0, 2.5, 4.0, 7.0, 9.0]))
    assert score.value == -1.0 and "it diverges: a tenth" in score.reason


def test_a_validation_loss_that_rises_while_training_falls_overfits():
    learnt = made(loss=[3.0, 1.0, 0.1, 0.01], eval_loss=[1.5, 1.0, 1.25, 2.0])
    (score,) = measured("validation_rise", learnt)
    assert score.value == 1.0 and "evaluation 2 of 4" in score.reason and "fewer epochs" in score.reason


def test_with_early_stopping_the_lowest_is_what_was_kept():
    artifact = made(eval_loss=[2.0, 1.0, 3.0])
    assert measured("validation_rise", artifact)[0].value == 2.0
    artifact.manifest["params"]["trainer"]["early_stopping_patience"] = 1
    assert measured("validation_rise", artifact)[0].value == 0.0


def test_a_spike_is_a_jump_by_half_of_the_loss_at_the_start():
    assert spikes([4.0, 3.0, 2.0, 1.0, 5.0, 0.9, 0.8]) == [4]
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
