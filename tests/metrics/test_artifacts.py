"""What was built: the adapter, every GGUF file and what the store knows of them."""

import pytest

from seatrial.evals.built import Built
from seatrial.evals.evidence import NotEvaluated
from seatrial.evals.metrics import METRICS
from seatrial.evals.models import ERROR, LENGTH, Generation
from seatrial.training.errors import SeatrialError
from tests.metrics.fakes import Answers, Shelf, artifact, case_of, criterion_for, evidence_with


@pytest.fixture
def export(tmp_path):
    adapter = artifact(tmp_path / "adapter", "adapter.safetensors", "weights")
    f16, q4 = (artifact(tmp_path / kind, f"lamp-{kind}.gguf", kind * 50) for kind in ("f16", "q4"))
    return Built(
        shipped=q4,
        base=artifact(tmp_path / "base", "model.safetensors", "base"),
        adapter=adapter,
        files={"f16": f16, "q4": q4},
        chain=(adapter, f16, q4),
    )


def measure(metric, evidence, **criterion):
    return METRICS[metric].measure(evidence, criterion_for(metric, **criterion), "shipped")


@pytest.mark.parametrize(
    ("text", "missed", "reason"),
    [("created", False, ""), (" \n", True, "the adapter loads, but its answer is empty")],
)
def test_an_adapter_that_loads_must_also_answer(export, tmp_path, text, missed, reason):
    evidence = evidence_with(export=export, cases=[case_of()], store=Shelf(tmp_path, text=text))
    (found,) = measure("adapter_loads", evidence)
    assert (found.value, found.missed, found.reason) == (float(not missed), missed, reason)


@pytest.mark.parametrize(
    ("generation", "missed"),
    [
        (Generation("created"), False),
        (Generation(""), True),
        (Generation("created created", stop_reason=LENGTH), True),
        (Generation("", stop_reason=ERROR, error="no"), True),
    ],
)
def test_every_gguf_file_must_answer_and_end(export, tmp_path, generation, missed):
    models = {"f16": Answers("f16", Generation("fine")), "q4": Answers("q4", generation)}
    evidence = evidence_with(models, export, cases=[case_of()], store=Shelf(tmp_path))
    found = {score.case: score for score in measure("gguf_answers", evidence)}
    assert not found["f16"].missed
    assert found["q4"].missed == missed
    assert found["q4"].reason == ("1 of 1 answers are empty or do not end by themselves" if missed else "")


def test_a_gguf_file_that_does_not_load_is_a_miss_with_the_runtime_s_words(export, tmp_path):
    class Broken(Answers):
        def generate(self, questions, max_tokens, log):
            raise SeatrialError("llama.cpp could not load this file", where="lamp-q4.gguf")

    models = {"f16": Answers("f16", Generation("fine")), "q4": Broken("q4", None)}
    evidence = evidence_with(models, export, cases=[case_of()], store=Shelf(tmp_path))
    found = {score.case: score for score in measure("gguf_answers", evidence)}
    assert (found["q4"].value, found["q4"].missed) == (0.0, True)
    assert "lamp-q4.gguf: llama.cpp could not load this file" in found["q4"].reason


def test_the_size_is_that_of_the_shipped_file_in_gigabytes(export):
    (found,) = measure("file_size", evidence_with(export=export))
    assert (found.case, found.value) == ("lamp-q4.gguf", 1e-7)  # 100 bytes


def test_training_time_is_that_of_the_training_and_not_of_this_run(export):
    assert measure("training_minutes", evidence_with(export=export))[0].value == 1.5


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        ("adapter_loads", "there is no adapter in this run"),
        ("gguf_answers", "a program was judged"),
        ("training_minutes", "the model was not trained here"),
        ("adapter_strength_error", "the adapter is not here"),
        ("metadata_parity", "a program was judged"),
        ("weights_parity", "a program was judged"),
        ("token_parity", "--hf-model=DIR"),
        ("kl_divergence", "--hf-model=DIR"),
    ],
)
def test_what_is_not_there_is_not_judged(metric, reason):
    with pytest.raises(NotEvaluated, match=reason):
        measure(metric, evidence_with())


def test_a_file_without_the_model_that_was_trained_cannot_be_compared(export):
    for metric in ("metadata_parity", "weights_parity", "token_parity", "prompt_parity"):
        with pytest.raises(NotEvaluated, match="--hf-model=DIR"):
            measure(metric, evidence_with(export=export))


def test_a_program_has_no_file_size():
    with pytest.raises(NotEvaluated, match="a program was judged"):
        measure("file_size", evidence_with())


def test_without_an_ollama_server_nothing_is_said_about_ollama(export):
    evidence = evidence_with(export=export, absent={"ollama": "start one with 'ollama serve'"})
    for metric in ("ollama_answers", "prompt_parity"):
        with pytest.raises(NotEvaluated, match="'ollama serve'"):
            METRICS[metric].measure(evidence, criterion_for(metric), "ollama")


@pytest.mark.parametrize(
    ("generation", "missed"), [(Generation("created"), False), (Generation("x", stop_reason=LENGTH), True)]
)
def test_the_shipped_file_must_answer_every_case_in_ollama(export, tmp_path, generation, missed):
    models = {"ollama": Answers("ollama", generation)}
    evidence = evidence_with(models, export, cases=[case_of()], store=Shelf(tmp_path))
    (found,) = measure("ollama_answers", evidence)
    assert (found.case, found.missed) == ("c-1", missed)
