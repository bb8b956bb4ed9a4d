"""A model's own decoding: how long it answers and at which temperature, whatever its kind.

python -m pytest tests/test_decoded.py
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from seatrial.evals.costs import tally
from seatrial.evals.evidence import Evidence
from seatrial.evals.models import Question
from seatrial.evals.models.decoded import DecodedModel
from seatrial.evals.models.program import ProgramModel
from seatrial.evals.models.retrieval import RetrievalModel
from seatrial.evals.models.table import Surroundings, read_table
from seatrial.evals.task import load_task
from seatrial.evals.verdict import NotEvaluated
from seatrial.training.configuration import Misplaced
from tests.tiny import tiny_gguf

MINIATURE = Path(__file__).parent / "miniature"
AROUND = Surroundings(load_task(MINIATURE), None, lambda name: pytest.fail(name))
QUESTIONS = [Question(text, ({"role": "user", "content": text},)) for text in ("a ship", "a lamp", "a sea")]
ECHO = "import json,sys\nfor line in sys.stdin: print(json.dumps({'text': line, 'stop_reason': 'eos'}))"


@pytest.fixture(scope="module")
def gguf(tmp_path_factory) -> Path:
    return tiny_gguf(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


def built(kind, **keys):
    return read_table("larger", {"kind": kind, **keys}).decoded("larger", AROUND)


def answers(model, tmp_path, tokens=12):
    return [answer.text for answer in model.generate(QUESTIONS, tokens, tmp_path / "log")]


def test_a_table_without_decoding_is_the_model_itself(gguf):
    assert not isinstance(built("gguf", file=gguf), DecodedModel)
    assert not isinstance(built("gguf", file=gguf, seed=3, temperature=0), DecodedModel)


def test_a_temperature_draws_one_answer_by_its_seed(gguf, tmp_path):
    greedy = answers(built("gguf", file=gguf), tmp_path)
    drawn = [answers(built("gguf", file=gguf, temperature=0.8, seed=seed), tmp_path) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1]
    assert len({tuple(each) for each in (greedy, *drawn)}) == 3


def test_the_own_length_goes_before_the_task_s(gguf, tmp_path):
    model = built("gguf", file=gguf, max_tokens=3)
    assert {answer.completion_tokens for answer in model.generate(QUESTIONS, 12, tmp_path / "log")} == {3}
    assert {a.completion_tokens for a in model.time(QUESTIONS, 12, tmp_path / "log").generations} == {3}
    drawn = model.sample(QUESTIONS, 12, tmp_path / "log", 0.8, 2, 0)
    assert {answer.completion_tokens for each in drawn for answer in each} == {3}


def test_a_program_hears_it_in_every_line(tmp_path):
    program = ProgramModel("larger", f'{sys.executable} -c "{ECHO}"')
    model = DecodedModel(program, 7, 0.5, 4)
    heard = [json.loads(text) for text in answers(model, tmp_path)]
    assert {(each["max_tokens"], each["temperature"], each["seed"]) for each in heard} == {(7, 0.5, 4)}


def test_samples_are_drawn_at_the_own_temperature_if_there_is_one(tmp_path):
    program = ProgramModel("larger", f'{sys.executable} -c "{ECHO}"')
    for own, expected in ((0.5, 0.5), (0.0, 0.8)):
        drawn = DecodedModel(program, 7, own, 4).sample(QUESTIONS, 12, tmp_path / "log", 0.8, 2, 1)
        heard = [json.loads(answer.text) for each in drawn for answer in each]
        assert {each["temperature"] for each in heard} == {expected}


def test_an_endpoint_is_sent_its_temperature_and_its_length_is_its_own():
    model = built("openai", url="http://127.0.0.1:9/v1", model="m", temperature=0.7, seed=5, max_tokens=9)
    assert (model.temperature, model.max_tokens) == (0.0, 9)
    assert (model.inner.decoding["temperature"], model.inner.decoding["seed"]) == (0.7, 5)


def test_everything_that_decides_the_answers_is_in_the_identity(gguf):
    said = [{}, {"temperature": 0.8}, {"temperature": 0.8, "seed": 1}, {"max_tokens": 3}]
    identities = [json.dumps(built("gguf", file=gguf, **each).identity, sort_keys=True) for each in said]
    assert len(set(identities)) == len(said)


def test_a_variant_decodes_as_the_model_does(gguf, tmp_path):
    model = built("gguf", file=gguf, temperature=0.8, max_tokens=5)
    assert answers(model.variant(1, 1), tmp_path) == answers(model, tmp_path)
    assert model.variant(1, 1).identity != model.identity


@pytest.mark.parametrize(
    ("keys", "told"),
    [({"temperature": -1}, "temperature"), ({"max_tokens": 0}, "max_tokens"), ({"seed": -1}, "seed")],
)
def test_what_cannot_be_meant_is_told_with_its_key(gguf, keys, told):
    with pytest.raises(Misplaced, match=rf"\[models.larger\] {told}: "):
        built("gguf", file=gguf, **keys)


class Mute:
    name, identity = "mute", {"runtime": "test"}

    def generate(self, questions, max_tokens, log):
        return []


def test_a_runtime_that_draws_nothing_has_no_temperature():
    with pytest.raises(NotEvaluated, match="'mute' draws no answers: leave out its temperature"):
        DecodedModel(Mute(), None, 0.8, 0)
    with pytest.raises(NotEvaluated, match="'mute' gives no samples"):
        RetrievalModel("x", Mute(), [("a", "b")]).sample(QUESTIONS, 12, Path(), 0.8, 2, 0)


def test_retrieval_draws_with_its_rows_before_the_question(gguf, tmp_path):
    inner = built("gguf", file=gguf)
    model = RetrievalModel("x", inner, [("a ship at sea", "yes"), ("a lamp", "no")], 1)
    drawn = model.sample(QUESTIONS, 6, tmp_path / "log", 0.8, 2, 0)
    asked = [replace(each, messages=model._with_examples(each).messages) for each in QUESTIONS]
    expected = inner.sample(asked, 6, tmp_path / "log", 0.8, 2, 0)
    assert [[a.text for a in each] for each in drawn] == [[a.text for a in each] for each in expected]
    assert (
        drawn[1][0].prompt_tokens
        > inner.sample(QUESTIONS, 6, tmp_path / "log", 0.8, 2, 0)[1][0].prompt_tokens
    )


def test_drawn_answers_count_into_costs(gguf, tmp_path):
    from tests.test_determinism import evidence  # a task, a store and cases without a model of their own

    found: Evidence = evidence(tmp_path, built("gguf", file=gguf))
    greedy, drawn = found.generations("shipped", "domain"), found.samples("shipped", "domain")
    sums = [each for manifest in found.manifests() for each in manifest["answered"]]
    assert [(each["drawn"], each["answers"]) for each in sums] == [
        (False, len(greedy)),
        (True, found.task.sampling.samples * len(greedy)),
    ]
    expected = tally(answer for each in drawn.values() for answer in each)
    assert sums[1]["completion_tokens"] == expected.completion_tokens
