"""Evidence: what models answered, how likely they find references, how fast they are. All from the store.

Answers are artifacts, keyed by everything that decides them and never by a model's name. They are made and
read once per (model, case set) in a process, so that every test is a read of what is in memory: a step's
key and its file cost what all cases together cost, which a test of one case must not pay.
"""

from __future__ import annotations

import json
import platform
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from seatrial.evals.built import Built
from seatrial.evals.cases import Case
from seatrial.evals.costs import tally
from seatrial.evals.fidelity.chain import Chain
from seatrial.evals.models import ERROR, Generation, Likelihood, Model, Question, SamplingModel, ScoringModel
from seatrial.evals.models.llama_cpp import processors
from seatrial.evals.preference import compared
from seatrial.evals.task import Task
from seatrial.evals.verdict import NotEvaluated
from seatrial.training.errors import SeatrialError
from seatrial.training.progress import Progress
from seatrial.training.store import Artifact, Step, Store

T = TypeVar("T")


@dataclass(frozen=True)
class TimedAnswers:
    """Answers asked one at a time, by case, and the runtime's peak memory in bytes."""

    answers: Mapping[str, Generation]
    peak_memory: int


@dataclass(frozen=True)
class _Read:
    """What was read once, or why it cannot be read, and the artifacts that it came from."""

    value: Any
    artifacts: Mapping[str, Artifact]


class Evidence:
    """Everything that metrics may read; keeps track of the artifacts that were used."""

    def __init__(
        self,
        store: Store,
        task: Task,
        cases: Mapping[str, Sequence[Case]],
        models: Mapping[str, Model],
        built: Built,
        ratings: Mapping[str, Sequence[float]],
        absent: Mapping[str, str] | None = None,
        run: str = "",
    ) -> None:
        """``absent``: why a model that a criterion may ask for is not among ``models``; ``run``: what names
        this run in all of its processes, by default a name that no other one has."""
        self.run = run or uuid.uuid4().hex
        self.store, self.task, self.cases = store, task, cases
        self.chain = Chain(store, task, cases, models, built)
        self.models = {**models, **self.chain.trained_models()}
        self.built, self.ratings, self._absent = built, ratings, absent or {}
        self.used: dict[str, Artifact] = {}
        self._read: dict[tuple[str, str, str], _Read] = {}
        self._answered: dict[str, list[dict[str, Any]]] = {}  # by key of the answers' artifact

    @property
    def first_case_set(self) -> str:
        return next(iter(self.cases))

    def generations(self, model: str, case_set: str) -> Mapping[str, Generation]:
        """Answers of ``model`` by case id."""
        return self._once("generations", model, case_set, self._generations)

    def samples(self, model: str, case_set: str) -> Mapping[str, list[Generation]]:
        """Answers drawn from ``model`` as the task's ``[sampling]`` says, by case id."""
        return self._once("samples", model, case_set, self._samples)

    def answers_of(self, model: Model, questions: Sequence[Question], run: int) -> list[Generation]:
        """Answers of a model that has no role, a variant of one that has; ``run`` counts repetitions."""
        tokens = self.task.decoding.max_tokens

        def ask(asked: Sequence[Question], log: Path) -> list[Any]:
            return [answer.to_json() for answer in model.generate(asked, tokens, log)]

        artifact = self._asked(
            "rerun", model, f"run {run}", questions, ask, max_tokens=tokens, repetition=run
        )
        return [Generation(**row) for row in artifact.read_json("rows.json")]

    def likelihoods(self, model: str, case_set: str) -> Mapping[str, Likelihood]:
        """Likelihood of each reference answer of a case set, by case id."""
        return self._once("likelihoods", model, case_set, self._likelihoods)

    def preferences(self, model: str, case_set: str) -> Mapping[str, tuple[Likelihood, Likelihood]]:
        """Likelihoods of the chosen and the rejected answer, by case id, of the cases that have both."""
        return self._once("preferences", model, case_set, self._preferences)

    def timings(self, model: str, case_set: str) -> TimedAnswers:
        """Answers of ``model`` asked one at a time, on this machine, with nothing else running."""
        return self._once("timings", model, case_set, self._timings)

    def manifests(self) -> list[dict[str, Any]]:
        """Of all artifacts that were used, without what was asked: that is as long as the case sets.

        Those of answers have ``answered``: for each model and case set, the sums that costs are told by.
        """
        told = []
        for artifact in self.used.values():
            params = {k: v for k, v in artifact.manifest.get("params", {}).items() if k != "asked"}
            answered = self._answered.get(artifact.key, [])
            told.append(
                {**artifact.manifest, "params": params, "built_now": artifact.built, "answered": answered}
            )
        return told

    def use(self, artifact: Artifact) -> Artifact:
        """Note that a verdict rests on ``artifact``."""
        self.used[artifact.key] = artifact
        return artifact

    def _once(self, kind: str, model: str, case_set: str, read: Callable[[str, str], T]) -> T:
        """What ``read`` gives, kept in memory: a test of one case must not cost what all cases cost.

        Its artifacts count as used each time, as if it had been read again. A failure is kept, too.
        """
        asked = (kind, model, case_set)
        if asked not in self._read:
            before, self.used = self.used, {}
            try:
                self._read[asked] = _Read(read(model, case_set), self.used)
            except (NotEvaluated, SeatrialError) as error:
                self._read[asked] = _Read(error, self.used)
            finally:
                self.used = before
        found = self._read[asked]
        self.used.update(found.artifacts)
        if isinstance(found.value, Exception):
            raise found.value.with_traceback(None)  # else its traceback grows with every raise
        return cast(T, found.value)

    def _generations(self, model: str, case_set: str) -> Mapping[str, Generation]:
        chosen = self.model(model)
        questions = self._questions(case_set)
        if not questions:
            return {}
        tokens = self.task.decoding.max_tokens

        def ask(asked: Sequence[Question], log: Path) -> list[Any]:
            return [answer.to_json() for answer in chosen.generate(asked, tokens, log)]

        artifact = self._asked("generations", chosen, case_set, questions, ask, max_tokens=tokens)
        rows = artifact.read_json("rows.json")
        answers = {q.id: Generation(**row) for q, row in zip(questions, rows, strict=True)}
        self._tallied(artifact, model, case_set, list(answers.values()), drawn=False)
        return answers

    def _samples(self, model: str, case_set: str) -> Mapping[str, list[Generation]]:
        chosen, questions = self._scoring(model, "samples"), self._questions(case_set)
        if not questions:
            return {}
        how = {"max_tokens": self.task.decoding.max_tokens, **self.task.sampling.model_dump()}

        def ask(asked: Sequence[Question], log: Path) -> list[Any]:
            drawn = cast(SamplingModel, chosen).sample(asked, log=log, **how)
            return [[answer.to_json() for answer in answers] for answers in drawn]

        artifact = self._asked("samples", chosen, case_set, questions, ask, **how)
        rows = [[Generation(**row) for row in each] for each in artifact.read_json("rows.json")]
        self._tallied(artifact, model, case_set, [answer for each in rows for answer in each], drawn=True)
        return {question.id: each for question, each in zip(questions, rows, strict=True)}

    def _tallied(
        self, artifact: Artifact, model: str, case_set: str, answers: Sequence[Generation], drawn: bool
    ) -> None:
        """Keep the sums that costs are told by."""
        sums = {"model": model, "case_set": case_set, "drawn": drawn, **asdict(tally(answers))}
        self._answered.setdefault(artifact.key, []).append(sums)

    def _asked(
        self,
        kind: str,
        model: Model,
        case_set: str,
        questions: Sequence[Question],
        ask: Callable[[Sequence[Question], Path], list[Any]],
        **how: Any,
    ) -> Artifact:
        """What ``model`` says to ``questions``, a row of JSON for each.

        An error of a model whose errors pass, as those of a network do, is evidence of the run that met it
        and of no other: a later run asks those questions again, and keeps the other answers.
        """
        before: Artifact | None = None
        while True:
            held = before  # what the closure asks about

            def build(out: Path, progress: Progress, held: Artifact | None = held) -> Mapping[str, Any]:
                rows = [None] * len(questions) if held is None else held.read_json("rows.json")
                wanted = [place for place, row in enumerate(rows) if row is None or _failed(row)]
                log = self.store.root / "logs" / f"{kind}-{out.name}.log"
                said = ask([questions[place] for place in wanted], log)
                for place, row in zip(wanted, said, strict=True):
                    rows[place] = row
                _write(out, rows)
                return {"answers": len(rows), "failed": sum(map(_failed, rows)), "run": self.run}

            more = {} if before is None else {"after": before.digest}
            artifact = self._built(self._step(kind, model, case_set, questions, build, **how, **more))
            passes = artifact.facts.get("failed") and getattr(model, "errors_pass", False)
            if not passes or artifact.facts["run"] == self.run:
                return artifact
            before = artifact

    def _likelihoods(self, model: str, case_set: str) -> Mapping[str, Likelihood]:
        chosen = self._scoring(model, "likelihoods")
        questions = [question for question in self._questions(case_set) if question.reference is not None]
        if not questions:
            return {}
        if (known := self.chain.likelihoods(model, questions)) is not None:
            return dict(zip((question.id for question in questions), known, strict=True))

        def build(out: Path, progress: Progress) -> Mapping[str, Any]:
            log = self.store.root / "logs" / f"likelihoods-{out.name}.log"
            likelihoods = chosen.score(questions, log)
            _write(out, [asdict(likelihood) for likelihood in likelihoods])
            return {"tokens": sum(likelihood.tokens for likelihood in likelihoods)}

        step = self._step("likelihoods", chosen, case_set, questions, build)
        rows = self._built(step).read_json("rows.json")
        return {q.id: Likelihood(**row) for q, row in zip(questions, rows, strict=True)}

    def _preferences(self, model: str, case_set: str) -> Mapping[str, tuple[Likelihood, Likelihood]]:
        chosen = self._scoring(model, "likelihoods")
        pairs = {case.id: pair for case in self.cases[case_set] if (pair := compared(case))}
        questions = [question for pair in pairs.values() for question in pair]
        if not questions:
            return {}

        def build(out: Path, progress: Progress) -> Mapping[str, Any]:
            log = self.store.root / "logs" / f"likelihoods-{out.name}.log"
            _write(out, [asdict(likelihood) for likelihood in chosen.score(questions, log)])
            return {"pairs": len(pairs)}

        step = self._step("likelihoods", chosen, case_set, questions, build)
        found = [Likelihood(**row) for row in self._built(step).read_json("rows.json")]
        return dict(zip(pairs, zip(found[::2], found[1::2], strict=True), strict=True))

    def _timings(self, model: str, case_set: str) -> TimedAnswers:
        chosen = self._scoring(model, "timings")
        questions = self._questions(case_set)
        if not questions:
            raise NotEvaluated(f"the case set {case_set!r} is empty")
        tokens = self.task.decoding.max_tokens

        def build(out: Path, progress: Progress) -> Mapping[str, Any]:
            log = self.store.root / "logs" / f"timings-{out.name}.log"
            timings = chosen.time(questions, tokens, log)
            _write(out, [answer.to_json() for answer in timings.generations])
            return {"peak_memory": timings.peak_memory}

        machine = [platform.node(), platform.machine(), processors()]
        step = self._step("timings", chosen, case_set, questions, build, max_tokens=tokens, machine=machine)
        artifact = self._built(step)
        rows = artifact.read_json("rows.json")
        answers = {q.id: Generation(**row) for q, row in zip(questions, rows, strict=True)}
        return TimedAnswers(answers, artifact.facts["peak_memory"])

    def _questions(self, case_set: str) -> list[Question]:
        return [case.question for case in self.cases[case_set]]

    def model(self, name: str) -> Model:
        """A model by its role; raises NotEvaluated with the reason where there is none."""
        if name in self._absent:
            raise NotEvaluated(self._absent[name])
        if name not in self.models:
            raise NotEvaluated(f"no model {name!r} in this run; there are: {', '.join(self.models)}")
        return self.models[name]

    def _scoring(self, name: str, what: str) -> ScoringModel:
        model = self.model(name)
        if not hasattr(model, {"likelihoods": "score", "timings": "time", "samples": "sample"}[what]):
            raise NotEvaluated(f"the runtime of {name!r} gives no {what}")
        return cast(ScoringModel, model)

    def _step(
        self,
        kind: str,
        model: Model,
        case_set: str,
        questions: Sequence[Question],
        build: Callable[[Path, Progress], Mapping[str, Any]],
        **more: Any,
    ) -> Step:
        # Ids are left out: renaming a case does not change what is asked.
        asked = [[list(question.messages), question.reference] for question in questions]
        params = {"model": dict(model.identity), "asked": asked, **more}
        title, everywhere = f"{kind} of {model.name} on {case_set}", "machine" not in more
        return Step(kind, 3, params, {}, build, title=title, shared=everywhere)

    def _built(self, step: Step) -> Artifact:
        return self.use(self.store.build(step))


def _failed(row: Any) -> bool:
    """Whether a kept answer, or one of several drawn ones, ended in an error."""
    return any(each["stop_reason"] == ERROR for each in (row if isinstance(row, list) else [row]))


def _write(out: Path, rows: Sequence[Any]) -> None:
    (out / "rows.json").write_text(json.dumps(rows, ensure_ascii=False, indent=0), encoding="utf-8")
