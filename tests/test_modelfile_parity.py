"""The metric of the Modelfile: what is served is judged with the file alone, and nothing passes in silence.

python -m pytest tests/test_modelfile_parity.py
"""

import dataclasses
from pathlib import Path

import pytest
from gguf import GGUFWriter

from seatrial.evals.built import Built
from seatrial.evals.cases import Case
from seatrial.evals.criteria import judge
from seatrial.evals.evidence import Evidence
from seatrial.evals.models import Question
from seatrial.evals.models.ollama import OllamaRefuses
from seatrial.evals.task import load_task
from seatrial.evals.verdict import FAIL, NOT_EVALUATED, PASS
from seatrial.training.modelfile import modelfile
from seatrial.training.store import Artifact, file_digest

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "task_api"
TASK = load_task(GOLDEN)
CRITERION = next(criterion for criterion in TASK.criteria if criterion.id == "SC-4.modelfile")
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}"
    "{% endfor %}{{ '<|im_start|>assistant\n' }}"
)
UNKNOWN = "{{ '<turn>' + messages }}"
TOKENS = {"<|im_start|>": 3, "<|im_end|>": 3, "<|endoftext|>": 3, "}": 1}


class Server:
    """An Ollama that makes these prompts, or refuses to."""

    name, identity = "ollama", {"is": "a server"}


def taken_in(folder, change=lambda text: text, template=CHATML, step="given-file"):
    """A file of 512 tokens' context beside its Modelfile, as the store takes them in."""
    folder.mkdir()
    path = folder / "lamp.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(8192)
    writer.add_chat_template(template)
    writer.add_token_list(list(TOKENS))
    writer.add_token_types(list(TOKENS.values()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    text, _ = modelfile(path, TASK.prompts.system, TASK.decoding.model_dump())
    (folder / "Modelfile").write_bytes(change(text).encode())
    manifest = {"key": "k", "step": step, "files": {path.name: {"sha256": file_digest(path)}}, "facts": {}}
    return Artifact(folder, manifest)


@pytest.fixture
def verdict(tmp_path):
    """The verdict on a file that came without a trained model."""

    def verdict(change=lambda text: text, given=True, prompts=None, cases=(), **made):
        shipped = taken_in(tmp_path / "shipped", change, **made)
        export = Built(shipped=shipped, modelfile=shipped.path / "Modelfile" if given else None)
        absent = {} if prompts else {"ollama": "no Ollama server answers"}
        models = {"ollama": Server()} if prompts else {}
        asked = {**{name: [] for name in TASK.case_sets}, "domain": list(cases)}
        evidence = Evidence(None, TASK, asked, models, export, {}, absent)
        if prompts:
            evidence.chain.served_prompts = prompts
        return judge(CRITERION, evidence)

    return verdict


def test_the_criterion_is_required_and_asks_for_every_instruction():
    assert CRITERION.required
    assert CRITERION.at_least == 1.0


def test_a_program_has_no_modelfile():
    evidence = Evidence(None, TASK, {name: [] for name in TASK.case_sets}, {}, Built(), {})
    found = judge(CRITERION, evidence)
    assert (found.status, found.reason) == (NOT_EVALUATED, "a program was judged, not a file")


def test_a_right_modelfile_passes_without_a_trained_model_and_without_a_server(verdict):
    found = verdict()
    assert found.status == PASS
    assert found.notes == []


def test_a_wrong_one_fails_and_says_what_was_expected_where_and_at_which_stage(verdict):
    found = verdict(lambda text: text.replace("temperature 0", "temperature 1.5"))
    assert found.status == FAIL
    assert found.stages == ["runtime"]
    (miss,) = found.misses
    assert (miss.case, miss.expected, miss.actual) == ("Modelfile: PARAMETER temperature", "0", "1.5")
    assert miss.reason == "what is served is not what was judged (runtime)"


def test_what_ollama_refuses_fails_in_its_words(verdict):
    found = verdict(lambda text: text + "PARAMETER tfs_z 1\n")
    assert (found.status, found.misses[0].actual) == (FAIL, "unknown parameter 'tfs_z'")


def test_a_modelfile_that_was_written_here_is_judged_and_said_to_be(verdict):
    found = verdict(given=False)
    assert found.status == PASS
    assert found.notes == [
        "no Modelfile was given: the one that was judged was written here; serve the file with it"
    ]


def test_the_modelfile_of_a_training_in_this_run_needs_no_such_words(verdict):
    found = verdict(given=False, step="quantized")
    assert (found.status, found.notes) == (PASS, [])


def test_where_none_can_be_written_it_is_asked_for(verdict):
    found = verdict(given=False, template=UNKNOWN)
    assert found.status == NOT_EVALUATED
    assert "give the one that is served with --modelfile=FILE" in found.reason


def with_another_template(text):
    return (
        text.replace("TEMPLATE", "LICENSE", 1)
        + 'TEMPLATE """<|im_start|>{{ .System }}<|im_end|>{{ .Prompt }}"""\n'
    )


def test_a_template_that_only_a_server_could_judge_does_not_pass_without_one(verdict):
    found = verdict(with_another_template)
    assert found.status == NOT_EVALUATED
    assert "Ollama must render it: no Ollama server answers" in found.reason


def test_two_messages_of_one_role_in_a_case_do_not_pass_without_a_server(verdict):
    twice = ({"role": "user", "content": "Add milk."}, {"role": "user", "content": "And bread."})
    found = verdict(cases=[Case("c", Question("c", twice), "domain", "domain.jsonl:1")])
    assert (found.status, "one turn of two messages" in found.reason) == (NOT_EVALUATED, True)


def test_what_else_is_wrong_is_told_without_a_server(verdict):
    found = verdict(lambda text: with_another_template(text) + "PARAMETER num_ctx 64\n")
    assert (found.status, [miss.case for miss in found.misses]) == (FAIL, ["Modelfile: PARAMETER num_ctx"])


@pytest.mark.parametrize("template", [CHATML, UNKNOWN])
def test_a_server_renders_what_only_it_can_judge(verdict, template):
    from seatrial.evals.fidelity.metadata import Finding

    wrong = Finding("u 'Hello'", "template", "this prompt", "another", False)
    found = verdict(with_another_template, prompts=lambda: [wrong], template=template)
    assert (found.status, found.stages) == (FAIL, ["template"])


def test_a_right_prompt_of_another_template_passes(verdict):
    from seatrial.evals.fidelity.metadata import Finding

    right = Finding("u 'Hello'", "template", "this prompt", "the same", True)
    assert verdict(with_another_template, prompts=lambda: [right]).status == PASS


def test_a_template_that_the_server_refuses_fails(verdict):
    def refuse():
        raise OllamaRefuses("Ollama could not create a model: template error", where="lamp.gguf")

    found = verdict(with_another_template, prompts=refuse)
    assert (found.status, found.stages) == (FAIL, ["runtime"])
    assert "template error" in found.misses[0].actual


def test_control_tokens_of_the_vocabulary_may_be_stop_strings_and_other_tokens_not(verdict):
    assert verdict(lambda text: text + "PARAMETER stop <|endoftext|>\n").status == PASS


def test_tokens_that_answers_hold_may_not(verdict):
    assert verdict(lambda text: text + "PARAMETER stop }\n").status == FAIL


def test_from_is_resolved_where_the_modelfile_came_from(tmp_path):
    shipped = taken_in(tmp_path / "shipped")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    export = Built(shipped=shipped, modelfile=elsewhere / "Modelfile")
    evidence = Evidence(None, TASK, {name: [] for name in TASK.case_sets}, {}, export, {})
    assert judge(CRITERION, evidence).status == PASS
    (elsewhere / "lamp.gguf").write_bytes(b"GGUF of last month")
    found = judge(CRITERION, evidence)
    assert (found.status, found.misses[0].case) == (FAIL, "Modelfile: FROM")


def test_a_file_that_cannot_be_read_does_not_pass(tmp_path):
    shipped = taken_in(tmp_path / "shipped")
    (shipped.path / "lamp.gguf").write_bytes(b"GGUF")
    export = Built(shipped=shipped, modelfile=shipped.path / "Modelfile")
    evidence = Evidence(None, TASK, {name: [] for name in TASK.case_sets}, {}, export, {})
    found = judge(CRITERION, evidence)
    assert (found.status, "header cannot be read" in found.reason) == (NOT_EVALUATED, True)


def test_the_trained_template_counts_more_than_the_file_s_own(tmp_path):
    merged = tmp_path / "merged"
    merged.mkdir()
    (merged / "chat_template.jinja").write_text("{{ '<|start_header_id|>' }}", encoding="utf-8")
    shipped = taken_in(tmp_path / "shipped")
    export = Built(shipped=shipped, modelfile=shipped.path / "Modelfile")
    export = dataclasses.replace(export, merged=Artifact(merged, {"key": "m", "files": {}}))
    evidence = Evidence(None, TASK, {name: [] for name in TASK.case_sets}, {}, export, {})
    found = judge(CRITERION, evidence)
    assert (found.status, found.stages) == (FAIL, ["template"])


# --- through the gate, as a user gives it ---------------------------------------------------------------
GIVEN = {
    "as it should be": (lambda text: text.encode(), "PASS", ""),
    "UTF-16": (lambda text: text.encode("utf-16"), "PASS", ""),
    "a boolean": (lambda text: f"{text}PARAMETER use_mmap true\n".encode(), "PASS", ""),
    "another file": (lambda text: text.replace("./lamp", "./lamb").encode(), "FAIL", "./lamb.gguf"),
    "no text at all": (lambda text: bytes(range(256)), "FAIL", "command must be one of"),
}


@pytest.mark.parametrize("name", GIVEN)
def test_a_given_modelfile_is_judged_with_the_file_alone(gate, tmp_path, name):
    change, status, said = GIVEN[name]
    file = taken_in(tmp_path / "given").path / "lamp.gguf"
    path = tmp_path / "Modelfile"
    path.write_bytes(change((file.parent / "Modelfile").read_text(encoding="utf-8")))
    run = gate(
        *(f"--gguf={file}", f"--modelfile={path}", "-k", "modelfile"),
        fault="",
        task=GOLDEN,
        modules=("seatrial/evals/suite/test_criteria.py",),
    )
    verdict = run.verdicts["SC-4.modelfile"]
    assert verdict["status"] == status, run.output
    assert said in "".join(miss["actual"] for miss in verdict["misses"])
