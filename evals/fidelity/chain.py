"""The chain from the trained model to the file that ships: what is compared with what, built when asked for.

Metrics read it through ``evidence.chain``; everything dear is a step of the store.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

from seatrial.evals.built import Built
from seatrial.evals.cases import Case
from seatrial.evals.criterion import SHIPPED
from seatrial.evals.fidelity import metadata, prompts, weights
from seatrial.evals.fidelity.findings import Finding
from seatrial.evals.fidelity.runtime import in_runtime, rendered_in_llama_cpp, rendered_in_ollama
from seatrial.evals.fidelity.stages import FILE, MERGE, QUANTISATION
from seatrial.evals.fidelity.strength import Strength, mistake
from seatrial.evals.fidelity.trained import ADAPTER, MERGED, SFT, Asked, TrainedModel, trained
from seatrial.evals.models import Likelihood, Model, Question
from seatrial.evals.models.llama_cpp import LlamaCppModel
from seatrial.evals.preference import ACCURACY, compared
from seatrial.evals.task import Task
from seatrial.evals.verdict import NotEvaluated
from seatrial.training.errors import SeatrialError
from seatrial.training.extras import MissingExtra
from seatrial.training.gguf_file import open_gguf
from seatrial.training.store import Artifact, Store

if TYPE_CHECKING:
    from seatrial.evals.models.ollama import OllamaModel

OLLAMA = "ollama"
BEFORE_EXPORT = (SFT, ADAPTER, MERGED)
EXPLAINED = (
    0.01  # share of a file's squared error below which the adapter's factors have next to no part in it
)


class Chain:
    """Everything that says whether the shipped file is the trained model, in the order of cost."""

    def __init__(
        self,
        store: Store,
        task: Task,
        cases: Mapping[str, Sequence[Case]],
        models: Mapping[str, Model],
        built: Built,
    ) -> None:
        self.store, self.task, self.cases, self.models, self.built = store, task, cases, models, built

    def trained_models(self) -> dict[str, Model]:
        """``sft``, ``adapter`` and ``merged`` as models, those of them that are there."""
        if self.built.merged is None or self.built.unread:
            return {}
        adapters = (*([SFT] if self.built.sft else []), ADAPTER)
        names = (*adapters, MERGED) if self.built.adapter and self.built.base else (MERGED,)
        return {name: TrainedModel(name, self.trained, self.asked) for name in names}

    # --- what is asked ---------------------------------------------------------------------------------
    @cached_property
    def asked(self) -> Asked:
        """Questions and rows: those of criteria that judge a model before its export."""
        return Asked(
            questions=[case.question for case in self._asked_cases(likelihoods=False)],
            rows=[case.question for case in self.row_cases()],
            texts=prompts.texts(self.cases),
            conversations=prompts.conversations(self.task.prompts.system, self.cases),
            system=self.task.prompts.system,
            max_tokens=self.task.decoding.max_tokens,
            further=self._pairs(),
        )

    def _pairs(self) -> list[Question]:
        """Both answers of the cases by which a model before its export is judged on preferences."""
        found: dict[str, Question] = {}
        for criterion in self.task.criteria:
            if criterion.metric == ACCURACY and {criterion.model, criterion.against} & set(BEFORE_EXPORT):
                cases = [case for name in criterion.cases for case in self.cases[name]]
                found |= {question.key: question for case in cases for question in compared(case)}
        return list(found.values())

    def row_cases(self) -> list[Case]:
        """The cases of ``asked.rows``, in their order; there may be none."""
        return [case for case in self._asked_cases(likelihoods=True) if case.question.reference is not None]

    def _asked_cases(self, likelihoods: bool) -> list[Case]:
        sets: dict[str, None] = {}
        for criterion in self.task.criteria:
            diverges = criterion.metric in DIVERGENCES
            if criterion.metric == ACCURACY:
                continue  # see _pairs
            early = diverges or {criterion.model, criterion.against} & set(BEFORE_EXPORT)
            if early and (diverges or criterion.metric == "perplexity") == likelihoods:
                sets |= dict.fromkeys(criterion.cases)
        return [case for name in sets for case in self.cases[name]]

    # --- what is known ---------------------------------------------------------------------------------
    def trained(self) -> Artifact:
        """The trained model's own answers, likelihoods, token ids and rendered prompts."""
        built = self.built
        if built.unread:
            raise NotEvaluated(built.unread)
        if built.merged is None:
            raise NotEvaluated(
                "the trained model is not here: give its merged folder with --hf-model=DIR, or the adapter "
                "with --adapter=DIR where its base is the recipe's"
            )
        return self.store.build(trained(built.merged, built.adapter, built.base, self.asked, built.sft))

    def in_runtime(self, model: str) -> Artifact:
        """How a GGUF file tokenises and renders, and how far it is from the trained model."""
        outcome = self.trained()
        if model not in self.models:
            raise NotEvaluated(f"there is no file {model!r} in this run; there are: {', '.join(self.models)}")
        if not isinstance(self.models[model], LlamaCppModel):
            raise NotEvaluated(f"{model!r} is no GGUF file in llama.cpp")
        return self.store.build(
            in_runtime(cast(LlamaCppModel, self.models[model]), outcome, self.asked, inspect=model == SHIPPED)
        )

    def divergence(self, model: str) -> tuple[list[Mapping[str, list[float]]], Artifact]:
        """Per row: KL, top-1 agreement and negative log-likelihood of each answer token."""
        if model in BEFORE_EXPORT:
            outcome = self.trained()
            if model not in self.trained_models():
                raise NotEvaluated("needs the adapter and its base: --adapter=DIR")
            return outcome.read_json("models.json")[model]["divergence"], outcome
        outcome = self.in_runtime(model)
        return outcome.read_json("divergence.json"), outcome

    def likelihoods(self, model: str, questions: Sequence[Question]) -> list[Likelihood] | None:
        """Likelihoods that comparing a file with the trained model has told already, on the trained model's
        tokens; None for the shipped file, which reads references with its own tokenizer, and for others."""
        rows = {row.key: number for number, row in enumerate(self.asked.rows)}
        mine = model in self.built.files and self.built.merged is not None
        if not mine or any(question.key not in rows for question in questions):
            return None
        found, _ = self.divergence(model)
        told = [found[rows[question.key]]["nll"] for question in questions]
        return [Likelihood(math.fsum(nll), len(nll)) for nll in told]

    def metadata(self) -> list[Finding]:
        """What the shipped file says about itself."""
        shipped, f16 = self._shipped_and_f16()
        assert self.built.merged
        path, reference = _gguf(shipped), self.built.reference

        def read(artifact: Artifact) -> Path:  # the same bytes need not be read twice
            return path if self.built.shipped_sha256 in _digests(artifact) else _gguf(artifact)

        tokenizer = self.trained().read_json("text.json")["tokenizer"]
        return metadata.compare(
            path, self.built.merged.path, tokenizer, read(f16), read(reference) if reference else None
        )

    def weights(self) -> tuple[list[Finding], Strength | None, Artifact | None]:
        """The shipped file's tensors, and how strongly the adapter is in them."""
        shipped, f16 = self._shipped_and_f16()
        built = self.built
        try:
            open_gguf(_gguf(shipped))
        except SeatrialError as error:
            return [Finding("all tensors", FILE, "a whole GGUF file", error.problem, False)], None, None
        given = built.merged is not None and built.merged.manifest.get("step") == "given-model"
        parts = f16, built.reference, built.adapter, built.base
        artifact = self.store.build(weights.of_file(_gguf(shipped), str(built.shipped_sha256), *parts, given))
        told = artifact.read_json("weights.json")
        if told["unread"]:
            raise NotEvaluated(f"the tensors cannot be read here: {told['unread']}")
        findings = [Finding(**finding) for finding in told["findings"]]
        strength = Strength(**told["strength"]) if told["strength"] else None
        if strength and not strength.right and not _rounded_more(findings, strength):
            findings = [replace(finding, stage=MERGE) for finding in findings]
        return findings, strength, artifact

    def merge_mistake(self) -> str:
        """What is wrong with a merged model that was given beside the adapter and its base, "" where nothing
        is, or that cannot be said."""
        try:
            artifact = self.weights()[2]
        except (NotEvaluated, MissingExtra):
            return ""
        told = artifact.read_json("weights.json")["merge"] if artifact else None
        return mistake(Strength(**told), merge=True) if told else ""

    def tokens(self) -> list[Finding]:
        """Token ids: training tokenizer against the shipped file in llama.cpp."""
        outcome = self.trained().read_json("text.json")
        seen = self.in_runtime(SHIPPED).read_json("inspect.json")
        return prompts.token_findings(outcome, seen, self.asked.texts, self.asked.conversations)

    def rendered(self, model: str = SHIPPED) -> list[Finding]:
        """Prompts: trained template against the shipped file's own, or that of its Modelfile in Ollama."""
        if model == OLLAMA:
            return self._rendered_by_ollama(self.trained().read_json("text.json")["rendered"])
        outcome = self.trained().read_json("text.json")
        seen = self.in_runtime(model).read_json("inspect.json")
        return prompts.prompt_findings(outcome["rendered"], seen["rendered"], self.asked.conversations)

    def stages(self, otherwise: str) -> tuple[str, ...]:
        """Where a loss of the shipped file came in: the stages of what is wrong with it, cheapest checks
        first; ``otherwise`` if nothing is wrong with it but what its quantisation costs."""
        for check in (self.metadata, self._tensors_and_strength, self.tokens, self.rendered):
            try:
                found = dict.fromkeys(finding.stage for finding in check() if not finding.ok)
            except (NotEvaluated, MissingExtra):
                continue
            if found:
                return tuple(found)
        return (otherwise,)

    def _tensors_and_strength(self) -> list[Finding]:
        findings, strength, _ = self.weights()
        if strength and not strength.right and not _rounded_more(findings, strength):
            return [
                *findings,
                Finding("adapter", MERGE, "once", "not once", False),
            ]  # every tensor near enough
        return findings

    def served_prompts(self) -> list[Finding]:
        """Prompts: what Ollama makes of the Modelfile against the trained template or, where no trained model
        is here that could be read, the file's own."""
        if self.built.merged is not None and not self.built.unread:
            return self.rendered(OLLAMA)
        model = cast(LlamaCppModel, self.models[SHIPPED])
        artifact = self.store.build(rendered_in_llama_cpp(model, self.asked.conversations))
        return self._rendered_by_ollama(artifact.read_json("rendered.json"))

    def _rendered_by_ollama(self, rendered: Sequence[str | None]) -> list[Finding]:
        """Against ``rendered``, what the model's template makes of each conversation; None: it refuses it.

        Ollama puts the Modelfile's system prompt before a conversation without one, so it is compared with
        the same conversation and that prompt; a Modelfile without one shows as a difference."""
        model = self.models.get(OLLAMA)
        if model is None:
            raise NotEvaluated("no Ollama in this run")
        expected = dict(zip(map(_spoken, self.asked.conversations), rendered, strict=True))
        asked = [
            messages
            for messages in self.asked.conversations
            if (messages[0]["role"] == "system" or not self.task.prompts.system)
            and expected[_spoken(messages)]
        ]
        if not asked:
            raise NotEvaluated("the model's own template renders no conversation that could be compared")
        opening = {"role": "system", "content": self.task.prompts.system}
        sent = [list(m[1:]) if dict(m[0]) == opening and len(m) > 1 else list(m) for m in asked]
        artifact = self.store.build(rendered_in_ollama(cast("OllamaModel", model), sent))
        return prompts.prompt_findings(
            [expected[_spoken(messages)] for messages in asked],
            artifact.read_json("rendered.json"),
            asked,
            by_go=True,
        )

    def _shipped_and_f16(self) -> tuple[Artifact, Artifact]:
        if self.built.shipped is None:
            raise NotEvaluated("a program was judged, not a file")
        if self.built.f16 is None:
            self.trained()  # says what is missing
            raise NotEvaluated("there is no F16 export of the trained model to compare with")
        return self.built.shipped, self.built.f16


DIVERGENCES = ("kl_divergence", "top1_agreement", "nll_change")


def _spoken(messages: Sequence[Mapping[str, str]]) -> str:
    return json.dumps([dict(message) for message in messages])


def _gguf(artifact: Artifact) -> Path:
    return next(artifact.path.glob("*.gguf"))


def _digests(artifact: Artifact) -> set[str]:
    return {entry["sha256"] for entry in artifact.manifest["files"].values()}


def _rounded_more(findings: Sequence[Finding], strength: Strength) -> bool:
    """Whether much of the file is wrong, and next to none of it by the adapter's factors: a coarse rounding
    shrinks an update, too, by some hundredths."""
    stages = {finding.stage for finding in findings if not finding.ok}
    return stages == {QUANTISATION} and strength.explained < EXPLAINED
