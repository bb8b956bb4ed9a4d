"""An adapter as a model to compare with: ``[models.NAME]`` of the kind ``adapter``.

python -m pytest tests/test_adapter_model.py
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from seatrial.evals.models import Question
from seatrial.evals.models import adapter as adapter_module
from seatrial.evals.models.adapter import AdapterModel, Table
from seatrial.evals.models.table import Surroundings
from seatrial.evals.task import load_task
from seatrial.evals.verdict import NotEvaluated
from seatrial.training import steps
from seatrial.training.recipe import load_recipe
from seatrial.training.store import Store, default_root
from tests.conftest import MINIATURE

SAVE = """
import sys, torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer
base, out = sys.argv[1:]
torch.manual_seed(3)
lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
get_peft_model(AutoModelForCausalLM.from_pretrained(base), lora).save_pretrained(out)
AutoTokenizer.from_pretrained(base).save_pretrained(out)
"""
ASKED = ("lamp on", "please put the lamp off, it is much too bright for me in here", "?")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    """A base and an adapter of it, with random weights."""
    place = tmp_path_factory.mktemp("adapter")
    tokenizer = Store(default_root()).build(steps.import_base(load_recipe("smollm2-135m-cpu"))).path
    make = [sys.executable, str(MINIATURE / "make_base.py"), str(tokenizer), str(place / "base")]
    subprocess.run(make, check=True)
    save = [sys.executable, "-c", SAVE, str(place / "base"), str(place / "adapter")]
    subprocess.run(save, check=True)
    return place / "base", place / "adapter"


class Here:
    """The process of an adapter, in this one: a child would import torch again for every call."""

    def __init__(self, *about: object) -> None:
        pass

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def call(self, request: dict, timeout: float) -> dict:
        return json.loads(json.dumps(adapter_module.handle(request, lambda **event: None)))


def questions(*texts: str) -> list[Question]:
    return [Question(text, ({"role": "user", "content": text},)) for text in texts]


def test_its_answers_do_not_depend_on_what_is_decoded_together(folders, tmp_path):
    base, adapter = folders
    model = AdapterModel("adapter", adapter, base, "Be brief.")
    together = model.generate(questions(*ASKED), 6, tmp_path / "log.txt")
    alone = [model.generate(questions(text), 6, tmp_path / "log.txt")[0] for text in ASKED[:2]]
    assert [each.text for each in together[:2]] == [each.text for each in alone]
    assert [each.prompt_tokens for each in together[:2]] == [each.prompt_tokens for each in alone]
    assert len({each.text for each in together}) > 1
    assert all(1 <= each.completion_tokens <= 6 for each in together)


def test_its_identity_is_that_of_both_folders(folders, tmp_path):
    base, adapter = folders
    one = AdapterModel("adapter", adapter, base, "").identity
    assert one == AdapterModel("another-role", adapter, base, "").identity
    assert one != AdapterModel("adapter", adapter, adapter, "").identity
    assert one != AdapterModel("adapter", adapter, base, "Be brief.").identity


def test_the_base_is_the_one_that_the_adapter_names(folders):
    base, adapter = folders
    around = Surroundings(load_task(MINIATURE), None, lambda name: pytest.fail(name))
    assert Table(kind="adapter", folder=adapter).model("x", around).base == base


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"folder": "nowhere"}, "holds no adapter_config.json"),
        ({"base": "nowhere"}, "'base' in .models.x. names its folder"),
    ],
)
def test_what_is_not_here_is_not_evaluated(folders, wrong, told):
    table = Table.model_validate({"kind": "adapter", "folder": folders[1], **wrong})
    with pytest.raises(NotEvaluated, match=told):
        table.model("x", Surroundings(load_task(MINIATURE), None, lambda name: pytest.fail(name)))


def test_drawn_answers_depend_on_seed_and_question_alone_and_are_greedy_when_cold(
    folders, tmp_path, monkeypatch
):
    monkeypatch.setattr(adapter_module, "JsonProcess", Here)
    base, adapter = folders
    model, log = AdapterModel("adapter", adapter, base, "Be brief."), tmp_path / "log.txt"
    drawn = model.sample(questions(*ASKED[:2]), 6, log, 0.8, 3, 5)
    again = model.sample(questions(*ASKED[1::-1]), 6, log, 0.8, 3, 5)
    other = model.sample(questions(ASKED[0]), 6, log, 0.8, 3, 6)
    texts = [[[answer.text for answer in row] for row in rows] for rows in (drawn, again, other)]
    assert texts[0] == texts[1][::-1]
    assert texts[0][0] != texts[2][0]
    assert len({text for row in texts[0] for text in row}) > 3
    cold = model.sample(questions(ASKED[0]), 6, log, 0, 2, 5)
    assert [each.text for each in cold[0]] == [model.generate(questions(ASKED[0]), 6, log)[0].text] * 2
