"""The llama.cpp runtime on a real GGUF file, the base model's, and on files that are none."""

import os
import signal
import threading

import numpy as np
import pytest

from seatrial.evals.models import EOS, ERROR, LENGTH, Question
from seatrial.evals.models.llama_cpp import LlamaCppModel
from seatrial.evals.models.llama_worker import IMPOSSIBLE
from seatrial.training import base
from seatrial.training.chat_date import strftime_now
from seatrial.training.errors import SeatrialError
from seatrial.training.process import ChildDied, JsonProcess
from seatrial.training.recipe import load_recipe
from tests.sabotage import gguf_edit


@pytest.fixture(scope="module")
def gguf():
    recipe = load_recipe("smollm2-135m-cpu")
    return base.locate(recipe.base, recipe.folder)


def model(path, context=512, slots=4):
    return LlamaCppModel("base", path, "digest", "Answer in one word.", context, slots)


def ask(*prompts, reference=None):
    return [
        Question(f"q{i}", ({"role": "user", "content": text},), reference) for i, text in enumerate(prompts)
    ]


def test_answers_come_in_the_order_of_the_questions_and_in_32_bits_whatever_else_is_asked(gguf, tmp_path):
    questions = ask(
        "Say hello.", "What is the capital of France?", "Name a colour.", "", "Count to three.", "Hi"
    )
    together = model(gguf).generate(questions, 6, tmp_path / "log")
    alone = [model(gguf, slots=1).generate([question], 6, tmp_path / "log")[0] for question in questions[1:3]]
    assert [answer.text for answer in together[1:3]] == [answer.text for answer in alone]
    assert "Paris" in together[1].text
    assert all(0 < answer.completion_tokens <= 6 for answer in together)


def test_a_template_that_asks_for_the_day_is_told_the_one_that_all_are_judged_by(gguf, tmp_path):
    content = gguf_edit.read(gguf)
    content["tokenizer.chat_template"] = "{{ strftime_now('%d %b %Y') }}"
    dated = gguf_edit.write(content, tmp_path / "dated.gguf")
    seen = model(dated).inspect([], [[{"role": "user", "content": "x"}]], tmp_path / "log")
    assert seen["rendered"] == [strftime_now("%d %b %Y")]


def test_an_answer_that_does_not_end_in_time_says_so(gguf, tmp_path):
    long, short = model(gguf).generate(
        ask("Write a long story about a ship.", "Say ok."), 3, tmp_path / "log"
    )
    assert (long.stop_reason, long.completion_tokens) == (LENGTH, 3)
    assert short.stop_reason in (EOS, LENGTH)


def test_a_question_longer_than_the_context_is_an_error_of_its_own(gguf, tmp_path):
    first, second = model(gguf, context=64).generate(ask("word " * 200, "Say ok."), 8, tmp_path / "log")
    assert first.stop_reason == ERROR
    assert "exceed the context of 64" in first.error
    assert second.completion_tokens > 0


def test_a_sensible_reference_is_likelier_than_nonsense(gguf, tmp_path):
    questions = [
        *ask("What is the capital of France?", reference="Paris"),
        *ask("What is the capital of France?", reference="qzx#"),
    ]
    paris, nonsense = model(gguf).score(questions, tmp_path / "log")
    assert 0 < paris.nll / paris.tokens < nonsense.nll / nonsense.tokens


def test_likelihood_agrees_with_the_high_level_interface_of_llama_cpp_python(gguf, tmp_path):
    """The same teacher-forced sum, from llama-cpp-python's own log probabilities."""
    from llama_cpp import Llama

    (question,) = ask("What is the capital of France?", reference="The capital is Paris.")
    (found,) = model(gguf).score([question], tmp_path / "log")
    llama = Llama(str(gguf), n_ctx=256, logits_all=True, verbose=False)
    prompt = "<|im_start|>system\nAnswer in one word.<|im_end|>\n<|im_start|>user\n"
    prompt += "What is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    before = llama.tokenize(prompt.encode(), add_bos=False, special=True)
    answer = llama.tokenize(b"The capital is Paris.<|im_end|>", add_bos=False, special=True)
    llama.eval([*before, *answer])
    logprobs = llama.logits_to_logprobs(llama.scores[: len(before) + len(answer)])
    expected = -sum(logprobs[len(before) - 1 + i, token] for i, token in enumerate(answer))
    assert found.tokens == len(answer)
    assert found.nll == pytest.approx(expected, rel=1e-3)


def test_timings_are_taken_one_at_a_time_with_the_memory_of_the_process(gguf, tmp_path):
    timings = model(gguf).time(ask("Say ok.", "Say yes."), 4, tmp_path / "log")
    assert len(timings.generations) == 2
    assert all(0 < answer.first_token_seconds <= answer.seconds for answer in timings.generations)
    assert timings.peak_memory > gguf.stat().st_size


def test_the_memory_of_the_process_is_not_that_of_the_one_that_started_it(gguf, tmp_path):
    """A run that trains is many times as large as the runtime that it starts."""
    ballast = b"x" * 1_000_000_000  # the runtime with this model takes 0.4 GB
    timings = model(gguf).time(ask("Say ok."), 2, tmp_path / "log")
    assert timings.peak_memory < len(ballast)


def test_tokens_that_the_file_lacks_are_as_unlikely_as_can_be_and_no_error(gguf, tmp_path):
    """A file whose vocabulary was cut: the trained model's own tokens cannot all be said, or read, by it."""
    words = 49_152
    known = np.full((3, words + 2), -200.0, dtype=np.float32)
    known[0, words] = 0.0  # sure of a token that the file lacks
    known[1:, 7] = 0.0
    np.save(tmp_path / "known.npy", known)
    rows = [
        {"ids": [1, 2, words], "answer": 1},
        {"ids": [1, 2, 7], "answer": 1},
        {"ids": [1, words + 1, 7], "answer": 1},  # the file cannot read what stands before the answer
    ]
    lacking, plain, unreadable = model(gguf).diverge(rows, tmp_path / "known.npy", tmp_path / "log")
    assert lacking["kl"] == lacking["nll"] == unreadable["kl"] == unreadable["nll"] == [-IMPOSSIBLE]
    assert lacking["top1"] == unreadable["top1"] == [0.0]
    assert 0 < plain["kl"][0] < 50


@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_a_damaged_file_is_one_clear_error_and_the_run_lives(gguf, tmp_path, damage):
    path = tmp_path / "bad.gguf"
    path.write_bytes(
        {"truncated": gguf.read_bytes()[:1_000_000], "empty": b"", "text": b"not a model"}[damage]
    )
    with pytest.raises(SeatrialError) as error:
        model(path).generate(ask("Say ok."), 4, tmp_path / "log")
    assert str(path) in str(error.value)
    assert "could not load" in str(error.value)


def test_a_runtime_killed_half_way_is_one_clear_error(gguf, tmp_path, monkeypatch):
    call = JsonProcess.call

    def kill_soon(self, request, timeout, **more):
        if request["op"] == "generate":
            threading.Timer(0.3, os.kill, (self.pid, signal.SIGKILL)).start()
        return call(self, request, timeout, **more)

    monkeypatch.setattr(JsonProcess, "call", kill_soon)
    with pytest.raises(ChildDied, match="ended with signal SIGKILL"):
        model(gguf).generate(ask("Write a long story about a ship."), 400, tmp_path / "log")
