"""Criteria: what is measured, by which rule it is decided and why; losses, by which stages are compared.

The judge takes every threshold from here; a number in a test would be a number without a reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt, field_validator, model_validator

from seatrial.training.configuration import Config

SHIPPED = "shipped"
RULES = ("point", "confident", "superior", "non_inferior", "within")


def _one_or_many(value: Any) -> Any:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


# One name or a list of them.
CaseSetNames = Annotated[tuple[str, ...], BeforeValidator(_one_or_many)]


class Criterion(Config):
    """One requirement; the part of ``id`` before the first dot is its group (SC-3.perplexity → SC-3).

    ``least_cases``: with fewer it is not evaluated; without the key, the metric and the rule say how many.
    ``absent``: why it cannot be evaluated at all, such as a case set that its kind names and the task lacks.
    """

    id: str
    """Its name; what stands before the first dot is its group."""
    title: str
    """What is required, in words."""
    metric: str
    """What is measured (docs/metrics.md)."""
    cases: CaseSetNames = ()
    """Case sets: names, `*` (all but the regressions), `!NAME` (not this one), `@first`."""
    model: str = SHIPPED
    """What is measured: shipped, base, prompted_base, sft, adapter, merged, ollama, f16, q8_0 ..."""
    at_least: float | None = None
    """Threshold of a metric of which more is better."""
    at_most: float | None = None
    """Threshold of a metric of which less is better."""
    rule: Literal["point", "confident", "superior", "non_inferior", "within"] = "point"
    """How it is decided: see Rules below."""
    against: str | None = None
    """The model that it is compared with, for the last three rules."""
    margin: float = Field(default=0.0, ge=0)
    """How much worse than `against` is allowed, in the metric's unit."""
    confidence: float = Field(default=0.95, ge=0.5, lt=1)  # less would be surer of the toss of a coin
    """Confidence of the interval, and of the rules that have to be sure."""
    least_cases: PositiveInt | None = None
    """With fewer cases it is not evaluated; by default metric and rule say how many."""
    required: bool = True
    """Whether nothing ships without it."""
    why: str
    """Why this threshold: it is printed when the criterion fails."""
    advice: str = ""
    """What to do when it fails."""
    stage: str = ""
    """Stage of the pipeline that it watches; a failure names it."""
    settings: Mapping[str, Any] = {}
    """Settings of the metric."""
    absent: str = Field(default="", exclude=True)

    @property
    def group(self) -> str:
        return self.id.partition(".")[0]

    @field_validator("id", "why", "title")
    @classmethod
    def _not_empty(cls, value: str) -> str:
        if not any(map(str.isalnum, value)):
            raise ValueError("must not be empty")
        return value

    @model_validator(mode="after")
    def _decidable(self) -> Criterion:
        bounds = [bound for bound in (self.at_least, self.at_most) if bound is not None]
        if self.rule in ("point", "confident"):
            if len(bounds) != 1:
                raise ValueError(f"rule {self.rule!r} needs exactly one of at_least and at_most")
            if self.against:
                raise ValueError(
                    f"'against' belongs to the rules superior, non_inferior and within, not {self.rule}"
                )
        elif bounds or not self.against:
            raise ValueError(f"rule {self.rule!r} needs 'against' (a model) and no at_least or at_most")
        return self


# name of the step, stage that it belongs to, its model, the model before it, whether it can be required.
# Only the file that ships is gated among the quantisations; the runtime is, where a server is required.
STEPS = (
    ("training", "training", "adapter", "base", True),
    ("merge", "merge", "merged", "adapter", True),
    ("conversion", "conversion", "f16", "merged", True),
    ("quantisation", "quantisation", "shipped", "f16", True),
    ("q8_0", "quantisation", "q8_0", "f16", False),
    ("q5_k_m", "quantisation", "q5_k_m", "f16", False),
    ("ollama", "runtime", "ollama", "shipped", False),
)
# In place of the first, where a stage on pairs follows (evals/preference.py).
PREFERENCE_STEPS = (
    ("training", "training", "sft", "base", True),
    ("preference", "preference", "adapter", "sft", True),
)


class Loss(Config):
    """A metric by which the stages from base to runtime are compared: one criterion for each of ``STEPS``.

    ``margin``: how much worse a stage's model may be than the one before it, in the metric's unit.
    """

    id: str
    """Its name; the criteria are called ID.training, ID.merge, ..."""
    title: str
    """What is compared, in words."""
    metric: str
    """What is measured at every stage."""
    cases: CaseSetNames
    """One case set or a list of them."""
    margin: float = Field(ge=0)
    """How much worse than the stage before is allowed, in the metric's unit."""
    least_cases: PositiveInt | None = None
    """With fewer cases it is not evaluated."""
    required: bool = True
    """Whether nothing ships without it."""
    why: str
    """Why this margin."""

    def criteria(self) -> list[Criterion]:
        """LOSS.operations → LOSS.operations.training, .merge, .conversion, ..."""
        return [
            Criterion(
                id=f"{self.id}.{name}",
                title=f"{self.title}: {model} against {against}",
                metric=self.metric,
                cases=self.cases,
                model=model,
                against=against,
                rule="within",
                margin=self.margin,
                least_cases=self.least_cases,
                required=self.required and needed,
                stage=stage,
                why=self.why,
            )
            for name, stage, model, against, needed in STEPS
            if not (name == "ollama" and self.metric == "perplexity")  # Ollama gives no likelihoods
        ]
