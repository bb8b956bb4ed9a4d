"""What the Ollama model sends and makes of the answers: to a stand-in and, where there is one, to the real
binary on a real file.

SEATRIAL_OLLAMA=/where/it/is/ollama python -m pytest tests/ollama_leg/test_model.py
"""

import json
import os
import shutil
from pathlib import Path

import pytest

from seatrial.evals.modelfiles.parser import RefusedModelfile
from seatrial.evals.models import EOS, ERROR, LENGTH, Question, ollama
from seatrial.evals.models.ollama import OllamaModel, OllamaRefuses, available
from seatrial.training import base
from seatrial.training.errors import SeatrialError
from seatrial.training.modelfile import modelfile
from seatrial.training.recipe import load_recipe
from seatrial.training.store import file_digest
from tests.ollama_leg.stand_in import ask

REAL = shutil.which(os.environ.get("SEATRIAL_OLLAMA") or "ollama")


# What is sent and what comes back


def test_the_file_is_created_with_the_projects_template_stop_and_system_and_removed(server, model, log):
    model.generate(ask("hello"), 64, log)
    created = json.loads(next(body for path, body in server.calls if path == "/api/create"))
    assert created["files"] == {"m.gguf": f"sha256:{model.sha256}"}
    assert created["template"].startswith("{{ range .Messages }}<|im_start|>")
    assert created["system"] == "Be brief."
    assert created["parameters"]["stop"] == ["<|im_end|>"]
    assert (f"/api/blobs/sha256:{model.sha256}", b"GGUF") in server.calls
    assert server.models == set()


def test_a_model_does_not_stay_in_the_memory_of_a_server_that_goes_on(server, model, log):
    model.generate(ask("hello"), 64, log)
    last = json.loads(server.calls[-1][1])
    assert (last["messages"], last["keep_alive"]) == ([], 0)


def test_each_answer_keeps_its_stop_reason_and_an_error_is_an_answer_too(server, model, log):
    stopped, cut, failed = model.generate(ask("hello", "long", "boom"), 64, log)
    assert (stopped.text, stopped.stop_reason) == ("hi", EOS)
    assert cut.stop_reason == LENGTH
    assert failed.stop_reason == ERROR
    assert "the runner ended" in failed.error
    assert server.models == set()


def test_a_question_is_sent_alone_so_that_it_is_answered_as_served(server, model, log):
    model.generate(ask("hello"), 17, log)
    asked = next(json.loads(body) for path, body in server.calls if path == "/api/chat" and b"hello" in body)
    assert asked["messages"] == [{"role": "user", "content": "hello"}]
    assert not {"options", "format", "think", "template", "system"} & {key for key in asked if asked[key]}


def test_an_answer_that_outgrows_the_limit_is_cut_and_said_to_be(server, model, log):
    (cut,) = model.generate(ask("endless"), 17, log)
    assert (cut.text, cut.stop_reason, cut.completion_tokens) == ("la " * 17, LENGTH, 17)
    assert "had not ended the answer after 17 tokens" in cut.error


def test_an_answer_that_takes_too_long_is_cut(server, model, log, monkeypatch):
    monkeypatch.setattr(ollama, "ANSWER_SECONDS", 0.2)
    (cut,) = model.generate(ask("endless"), 10**9, log)
    assert (cut.stop_reason, cut.text[:3]) == (LENGTH, "la ")


SERVED = '''FROM m.gguf
template """{{ .Prompt }}"""
SYSTEM "Be
brief."
MESSAGE user hi: there
MESSAGE assistant """Hello.
You?"""
PARAMETER temperature 1.5
PARAMETER stop "}"
PARAMETER stop <|im_end|>
PARAMETER use_mmap true
PARAMETER mirostat 2
LICENSE one
LICENSE two
RENDERER qwen3-coder
PARSER qwen3-coder
REQUIRES 0.14.0
'''


def test_everything_in_the_modelfile_reaches_the_server(server, model, log):
    served = OllamaModel("ollama", model.path, model.sha256, SERVED, "0.24.0")
    served.generate(ask("hello"), 64, log)
    created = json.loads(next(body for path, body in server.calls if path == "/api/create"))
    del created["model"], created["files"], created["stream"]
    assert created == {
        "template": "{{ .Prompt }}",
        "system": "Be\nbrief.",
        "messages": [
            {"role": "user", "content": "hi: there"},
            {"role": "assistant", "content": "Hello.\nYou?"},
        ],
        "parameters": {"temperature": 1.5, "stop": ["}", "<|im_end|>"], "use_mmap": True},
        "license": ["one", "two"],
        "renderer": "qwen3-coder",
        "parser": "qwen3-coder",
        "requires": "0.14.0",
    }


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("FROM other.gguf", "FROM names other.gguf, not m.gguf"),
        ("FROM llama3.2", "FROM names llama3.2, not m.gguf"),
        ("FROM m.gguf\nFROM m.gguf", "FROM names m.gguf, m.gguf, not m.gguf"),
        ("FROM .", "FROM names ., not m.gguf"),
        ("FROM m.gguf\nADAPTER lora.gguf", "ADAPTER adds lora.gguf"),
        ("FROM m.gguf\nPARAMETER tfs_z 1", "unknown parameter 'tfs_z'"),
    ],
)
def test_a_modelfile_that_serves_something_else_than_the_file_is_not_asked(model, line, why):
    with pytest.raises(RefusedModelfile, match=why):
        OllamaModel("ollama", model.path, model.sha256, line, "0.24.0")


def test_a_conversation_is_rendered_as_it_is_sent(server, model, log):
    conversation = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert model.render([[*conversation, *ask("c")[0].messages], conversation], log) == [
        "rendered c",
        "rendered b",
    ]
    sent = [json.loads(body) for _, body in server.calls if b"_debug_render_only" in body]
    assert sent[1]["messages"] == conversation
    assert server.models == set()


def test_a_conversation_is_asked_with_the_ids_of_its_calls_and_their_arguments_as_objects(server, model, log):
    call = {"id": "a1", "type": "function", "function": {"name": "go", "arguments": '{"to": 1}'}}
    said = (
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "hello", "name": "go", "tool_call_id": "a1"},
    )
    (answer,) = model.generate([Question("q", said)], 64, log)
    assert (answer.text, answer.stop_reason) == ("hi", EOS)
    (sent,) = [
        json.loads(b)["messages"] for p, b in server.calls if p == "/api/chat" and b'"stream":true' in b
    ]
    made = {**call, "function": {"name": "go", "arguments": {"to": 1}}}
    assert sent == [said[0], {**said[1], "tool_calls": [made]}, said[2]]


def test_a_server_that_does_not_tell_its_prompts_is_one_clear_error(server, model, log):
    server.renders = False
    with pytest.raises(SeatrialError, match=r"does not tell the prompts(.|\n)*install a newer one"):
        model.render([ask("hello")[0].messages], log)
    assert server.models == set()


@pytest.mark.parametrize(
    ("refuse", "message"),
    [
        (
            "create",
            "could not create a model from this file and its Modelfile: template error: unexpected EOF",
        ),
        ("load", "could not load this file: unknown model architecture: 'martian'"),
    ],
)
def test_what_the_server_refuses_is_one_clear_error_about_the_file(server, model, log, refuse, message):
    server.refuse = refuse
    with pytest.raises(SeatrialError) as error:
        model.generate(ask("hello", "long"), 64, log)
    assert str(error.value) == f"{model.path}: Ollama {message}"
    assert server.models == set()


def test_another_version_than_the_one_that_answers_are_kept_under_does_not_answer(server, model, log):
    model.version = "0.23.0"
    with pytest.raises(SeatrialError, match=r"Ollama 0\.24\.0 answers where 0\.23\.0 did before"):
        model.generate(ask("hello"), 64, log)
    assert server.calls == []


# The real binary on a real file

needs_ollama = pytest.mark.skipif(not REAL, reason="no Ollama here: set SEATRIAL_OLLAMA to its binary")


@pytest.fixture
def real(no_server, monkeypatch, tmp_path):
    """The base model's file in the Ollama that is installed here."""
    monkeypatch.setenv("SEATRIAL_OLLAMA", REAL)
    recipe = load_recipe("smollm2-135m-cpu")
    gguf = base.locate(recipe.base, recipe.folder)
    decoding = {"temperature": 0, "max_tokens": 32, "context": 512}
    text, _ = modelfile(gguf, "Answer in one word.", decoding)
    version, reason = available()
    assert version, reason
    return OllamaModel("ollama", gguf, file_digest(gguf), text, version)


@needs_ollama
def test_the_real_ollama_renders_and_answers_with_our_template(real, log):
    user = {"role": "user", "content": "What is the capital of France?"}
    system = {"role": "system", "content": "Be kind."}
    alone, own, turns = real.render(
        [[user], [system, user], [user, {"role": "assistant", "content": "Paris"}, user]], log
    )
    asked = f"<|im_start|>user\n{user['content']}<|im_end|>\n"
    ours = "<|im_start|>system\nAnswer in one word.<|im_end|>\n"
    end = "<|im_start|>assistant\n"
    assert alone == ours + asked + end
    assert own == "<|im_start|>system\nBe kind.<|im_end|>\n" + asked + end
    assert turns == ours + asked + "<|im_start|>assistant\nParis<|im_end|>\n" + asked + end
    paris, cut = real.generate(ask(user["content"], "Write a long story about a ship."), 12, log)
    assert "Paris" in paris.text
    assert "<|im_end|>" not in paris.text
    assert (cut.stop_reason, cut.completion_tokens) == (LENGTH, 12)
    assert "it was cut" in cut.error
    (served,) = real.generate(ask("Write a long story about a ship."), 500, log)
    assert (served.stop_reason, served.completion_tokens, served.error) == (LENGTH, 32, "")  # the Modelfile's
    assert not list(log.parent.glob("ollama-*"))


@needs_ollama
def test_the_real_ollama_serves_what_else_the_modelfile_says(real, log):
    text = real.identity["modelfile"] + "MESSAGE user a: b\nMESSAGE assistant c\nPARAMETER num_predict 3\n"
    served = OllamaModel("ollama", real.path, real.sha256, text, real.version)
    (prompt,) = served.render([ask("hello")[0].messages], log)
    opening = "<|im_start|>user\na: b<|im_end|>\n<|im_start|>assistant\nc<|im_end|>\n"
    assert f"{opening}<|im_start|>user\nhello<|im_end|>\n" in prompt
    (answer,) = served.generate(ask("Write a long story about a ship."), 500, log)
    assert (answer.stop_reason, answer.completion_tokens) == (LENGTH, 3)


@needs_ollama
def test_the_real_ollama_refuses_a_template_that_is_none(real, log):
    text = real.identity["modelfile"] + "TEMPLATE {{ .Prompt\n"
    served = OllamaModel("ollama", real.path, real.sha256, text, real.version)
    with pytest.raises(OllamaRefuses, match="could not create a model from this file and its Modelfile"):
        served.render([ask("hello")[0].messages], log)


@needs_ollama
def test_the_real_ollama_tells_why_it_cannot_load_a_file(real, log, tmp_path):
    real.path = tmp_path / "half.gguf"
    real.path.write_bytes(Path(base.__file__).read_bytes())
    real.sha256 = file_digest(real.path)
    with pytest.raises(SeatrialError, match=r"half\.gguf: Ollama could not create a model .*GGUF"):
        real.generate(ask("hello"), 4, log)
    assert not list(log.parent.glob("ollama-*"))
