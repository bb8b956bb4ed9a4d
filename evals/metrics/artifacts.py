"""Metrics of the export: does each artifact load and answer, and how large is the file?"""

from __future__ import annotations

from seatrial.evals.criterion import Criterion
from seatrial.evals.evidence import Evidence
from seatrial.evals.metrics.base import Estimator, Measure, Metric, Score, counted, only, register, share
from seatrial.evals.models import EOS, Generation
from seatrial.evals.verdict import NotEvaluated
from seatrial.training.errors import SeatrialError
from seatrial.training.store import Artifact


def _adapter_loads(evidence: Evidence, criterion: Criterion, model: str) -> list[Score]:
    from seatrial.evals.models.adapter import adapter_answer

    if evidence.built.adapter is None:
        raise NotEvaluated("there is no adapter in this run: give it with --adapter=DIR")
    if evidence.built.unread:
        raise NotEvaluated(evidence.built.unread)
    if evidence.built.base is None:
        raise NotEvaluated("the adapter's base is not here: --recipe names one, or its path in the adapter")
    evidence.use(evidence.built.adapter)
    question = next(case for cases in evidence.cases.values() for case in cases if case.prompt.strip())
    artifact = evidence.store.build(
        adapter_answer(
            evidence.built.base, evidence.built.adapter, evidence.task.prompts.system, question.question
        )
    )
    text = evidence.use(artifact).facts["text"]
    reason = "" if text.strip() else "the adapter loads, but its answer is empty"
    return [Score("adapter", float(bool(text.strip())), not text.strip(), reason, "an answer", text)]


def _gguf_answers(evidence: Evidence, criterion: Criterion, model: str) -> list[Score]:
    scores = []
    for kind, artifact in _files(evidence).items():
        evidence.use(artifact)
        try:
            answers = list(evidence.generations(kind, evidence.first_case_set).values())
        except SeatrialError as error:
            scores.append(Score(kind, 0.0, True, str(error), "answers"))
            continue
        scores.append(_answering(kind, answers))
    return scores


def _files(evidence: Evidence) -> dict[str, Artifact]:
    """Every GGUF file by the name of the model that it is."""
    built = evidence.built
    if built.shipped is None:
        raise NotEvaluated("a program was judged, not a file")
    known = {artifact.key for artifact in built.files.values()}
    return {**built.files, **({} if built.shipped.key in known else {"shipped": built.shipped})}


def _file_size(evidence: Evidence, criterion: Criterion, model: str) -> list[Score]:
    path = evidence.built.shipped_file
    if path is None:
        raise NotEvaluated("a program was judged, not a file")
    return [Score(path.name, path.stat().st_size / 1e9)]


def _ollama_answers(evidence: Evidence, criterion: Criterion, model: str) -> list[Score]:
    return [
        _answering(case, [answer])
        for case_set in criterion.cases
        for case, answer in evidence.generations("ollama", case_set).items()
    ]


def _training_minutes(evidence: Evidence, criterion: Criterion, model: str) -> list[Score]:
    trained = [each for each in (evidence.built.sft, evidence.built.adapter) if each]
    if not trained or trained[0].manifest["step"] != "adapter":
        raise NotEvaluated("the model was not trained here")
    return [Score("training", sum(evidence.use(each).manifest["seconds"] for each in trained) / 60)]


def _answering(name: str, answers: list[Generation]) -> Score:
    bad = [a for a in answers if not a.text.strip() or a.stop_reason != EOS]
    reason = f"{len(bad)} of {len(answers)} answers are empty or do not end by themselves" if bad else ""
    actual = (bad or answers)[0]
    return Score(name, float(not bad), bool(bad), reason, "answers that end by themselves", actual.text)


def _of_files(name: str, about: str, unit: str, better: str, measure: Measure, estimate: Estimator) -> Metric:
    return register(Metric(name, about, unit, better, measure, estimate, needs_cases=False, of="file"))


adapter_loads = _of_files(
    "adapter_loads", "1 if plain peft loads the adapter and it answers", "", "higher", _adapter_loads, only
)
gguf_answers = _of_files(
    "gguf_answers",
    "Share of GGUF files that load and answer in llama.cpp",
    "share",
    "higher",
    _gguf_answers,
    counted,
)
file_size = _of_files("file_size", "Size of the shipped file", "GB", "lower", _file_size, only)
training_minutes = _of_files(
    "training_minutes", "Minutes that training took when it was run", "min", "lower", _training_minutes, only
)
ollama_answers = register(
    Metric(
        "ollama_answers",
        "Share of cases that the shipped file answers in Ollama",
        "share",
        "higher",
        _ollama_answers,
        share,
        of="file",
    )
)
