"""The trained model in transformers: what it is asked, where it runs, and whose answer is whose.

python -m pytest tests/test_trained.py
"""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from seatrial.evals.built import Built
from seatrial.evals.cases import Case
from seatrial.evals.evidence import Evidence
from seatrial.evals.fidelity.trained import MERGED, TRUTH, Asked, TrainedModel, _answered, _predicted, handle
from seatrial.evals.models import Likelihood, Question
from seatrial.evals.task import load_task
from seatrial.training import steps
from seatrial.training.recipe import load_recipe
from seatrial.training.store import Artifact, Store, default_root
from tests.conftest import MINIATURE, REPOSITORY

ELSEWHERE = torch.device("meta")  # stands for a GPU: what is made there has no numbers


def question(text, reference=None):
    return Question("id", ({"role": "user", "content": text},), reference)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A Llama of two layers with a real tokenizer."""
    out = tmp_path_factory.mktemp("model") / "tiny"
    tokenizer = Store(default_root()).build(steps.import_base(load_recipe("smollm2-135m-cpu"))).path
    script = MINIATURE / "make_base.py"
    subprocess.run([sys.executable, str(script), str(tokenizer), str(out)], check=True, cwd=REPOSITORY)
    return out


def test_without_a_row_that_has_a_reference_everything_else_is_told(folder, tmp_path):
    conversations = [[{"role": "user", "content": "Hello"}]]
    asked = Asked([], [], ["some text"], conversations, "", 4)
    facts = handle({**asked.to_json(), "merged": str(folder), "out": str(tmp_path)}, lambda **event: None)
    assert (facts["truth"], facts["tokens"]) == (MERGED, 0)
    assert np.load(tmp_path / TRUTH).shape == (0, facts["vocabulary"])
    text = json.loads((tmp_path / "text.json").read_text(encoding="utf-8"))
    assert text["rows"] == []
    assert len(text["texts"]) == len(text["rendered"]) == len(text["prompts"]) == 1
    models = json.loads((tmp_path / "models.json").read_text(encoding="utf-8"))
    assert models[MERGED]["divergence"] == models[MERGED]["likelihoods"] == []


def test_ids_go_where_the_model_is_and_what_it_says_comes_back():
    def model(input_ids, logits_to_keep):
        assert input_ids.device == ELSEWHERE
        return SimpleNamespace(logits=torch.zeros(1, logits_to_keep, 5))

    model.device = ELSEWHERE
    (logs,) = _predicted(model, [{"ids": [1, 2, 3], "answer": 2}])
    assert isinstance(logs, np.ndarray)
    assert logs.shape == (2, 5)


def test_questions_go_where_the_model_is(folder):
    from transformers import AutoTokenizer

    class Model:
        device, generation_config = ELSEWHERE, SimpleNamespace(eos_token_id=2)

        def generate(self, input_ids, attention_mask, **more):
            assert input_ids.device == attention_mask.device == ELSEWHERE
            return torch.full((len(input_ids), input_ids.shape[1] + 2), 7)

    request = {"questions": [[{"role": "user", "content": "Hello"}]] * 2, "max_tokens": 2}
    assert _answered(Model(), AutoTokenizer.from_pretrained(folder), request, None) == [[7, 7], [7, 7]]


@pytest.fixture
def known(tmp_path):
    """``merged`` as a model that was asked the same question with two references, and one row twice."""
    rows = [question("Lights", "on"), question("Lights", "off"), question("Lights", "on")]
    likelihoods = [{"nll": nll, "tokens": 1} for nll in (1.0, 2.0, 1.0)]
    (tmp_path / "models.json").write_text(
        json.dumps({MERGED: {"likelihoods": likelihoods}}), encoding="utf-8"
    )
    outcome = Artifact(tmp_path, {"key": "k", "files": {}, "facts": {}})
    return TrainedModel(MERGED, lambda: outcome, Asked([], rows, [], [], "", 4))


def test_the_same_question_with_two_references_has_two_likelihoods(known, tmp_path):
    asked = [question("Lights", "off"), question("Lights", "on")]
    assert known.score(asked, tmp_path / "log") == [Likelihood(2.0, 1), Likelihood(1.0, 1)]


def test_rows_are_found_by_what_they_ask_and_not_by_which_object_asks(tmp_path):
    """Cases that were read again are other objects."""
    task = load_task(REPOSITORY / "golden" / "task_api")
    cases = {name: [] for name in task.case_sets}
    cases["heldout"] = [
        Case(name, Question(name, ({"role": "user", "content": "Lights"},), name), "heldout", "")
        for name in ("on", "off")
    ]
    merged = Artifact(tmp_path, {"key": "k", "files": {}, "facts": {}})
    export = Built(merged=merged, files={"f16": merged})
    chain = Evidence(Store(tmp_path / "store"), task, cases, {}, export, {}).chain
    chain.divergence = lambda model: ([{"nll": [1.0, 2.0]}, {"nll": [4.0]}], merged)
    asked = [question("Lights", "off"), question("Lights", "on")]
    assert chain.likelihoods("f16", asked) == [Likelihood(4.0, 1), Likelihood(3.0, 2)]
    assert [case.id for case in chain.row_cases()] == ["on", "off"]
