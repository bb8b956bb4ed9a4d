"""Before training: tune or not, which size, which rank, how many rows, what will it cost, and does it pay?

Each answer stands on numbers: of the task, its rows, its recipe, a finished run, or the store. Where one is
missing the answer says so and what would measure it; a rule of thumb is named as one, with its source
(``training/rules.toml``). Nothing is built, asked or downloaded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seatrial.evals.baselines import JUDGED, Measured, baselines
from seatrial.evals.break_even import break_even
from seatrial.evals.costs import HOUR
from seatrial.evals.overview import overview
from seatrial.evals.preflight_answer import NO, UNKNOWN, YES, Answer
from seatrial.evals.preflight_rows import Rows, rows_answer
from seatrial.evals.task import Task
from seatrial.training.footprint import Shape, adapter_parameters, training_bytes
from seatrial.training.past import Pace, seconds_for, trained_tokens
from seatrial.training.recipe import Recipe
from seatrial.training.rules import rule

GB = 1e9


@dataclass(frozen=True)
class Size:
    """A base that could be tuned: its recipe, and its shape if that is known here."""

    recipe: Recipe
    shape: Shape | None


@dataclass(frozen=True)
class Known:
    """All that is known beforehand; None and empty stand for what is not.

    ``sizes``: the task's own recipe first. ``memory``: bytes of the device that would train, and
    ``device`` what it is. ``results``: a finished run's results.json with the task's prices of today.
    ``base_file``: the untuned weights as a file that can be judged; ``gpu_hour``: dollars.
    """

    task: Task
    rows: Rows
    sizes: Sequence[Size]
    dtype: str
    memory: float | None
    device: str
    pace: Pace | None = None
    results: Mapping[str, Any] | None = None
    base_file: str = ""
    gpu_hour: float | None = None
    requests_a_day: int | None = None

    @property
    def recipe(self) -> Recipe:
        return self.sizes[0].recipe

    @property
    def shape(self) -> Shape | None:
        return self.sizes[0].shape

    def run(self, *more: str) -> str:
        """What to type for a run of this task."""
        return " ".join(["pytest -m release", f"--task={self.task.folder}", *more])


def preflight(known: Known) -> list[Answer]:
    """The answers, in the order in which they are needed."""
    time = _time(known)
    cost = _cost(known, time)
    return [
        _tune(known),
        rows_answer(known.task, known.rows, known.recipe),
        _size(known),
        _memory(known),
        _rank(known),
        time,
        cost,
        *_break_even(known, cost),
    ]


# --- tune or not ------------------------------------------------------------------------------------------


def _tune(known: Known) -> Answer:
    question = "tune or not"
    file = f"--gguf={known.base_file or 'BASE.gguf'}"
    measure = f"{known.run(file)}; then seatrial preflight --results={_latest(known)}"
    if known.results is None:
        return Answer(question, UNKNOWN, "not known: no run of an untuned model was given", (), measure)
    found = baselines(known.results)
    judged = found.pop(JUDGED, [])
    gate = known.results["gate"]["decision"]
    name = (known.results.get("shipped") or {}).get("name") or known.results.get("program") or JUDGED
    reasons = [f"{name}, which that run judged: {gate}", *map(_told, judged[:1])]
    reasons += [f"{model}: {_told(each)}" for model, values in found.items() for each in values]
    if gate == "SHIP":
        return Answer(question, NO, f"no: {name} may ship as it is", reasons)
    reached = [model for model, values in found.items() if all(each.surely for each in values)]
    nearly = [model for model, values in found.items() if all(each.met for each in values)]
    if nearly:
        sure = "surely" if reached else "by its estimate, not surely"
        best = (reached or nearly)[0]
        said = f"perhaps not: {best} reaches {sure} what was measured of it; judge it as the one that ships"
        return Answer(question, NO if reached else UNKNOWN, said, reasons, known.run(file))
    if not found:
        said = "not known: that run asked no other model the cases that have a threshold"
        return Answer(question, UNKNOWN, said, reasons, measure)
    return Answer(question, YES, f"yes: {', '.join(found)} do not reach what is required", reasons)


def _told(each: Measured) -> str:
    percent = each.unit == "share"

    def number(value: float) -> str:
        return f"{value:.0%}" if percent else f"{value:.3g}"

    low, high = each.low, each.high
    between = "" if low is None or high is None else f", {number(low)} to {number(high)}"
    sign = ">=" if each.better == "higher" else "<="
    wanted = f"{sign} {number(each.threshold)} is required"
    return f"{each.criterion}: {each.metric} {number(each.value)} ({each.n} cases{between}), {wanted}"


def _latest(known: Known) -> str:
    return f"reports/{known.task.name}/latest"


# --- which size, does it fit, which rank ------------------------------------------------------------------


def _size(known: Known) -> Answer:
    reasons, fits = [], []
    for size in sorted(known.sizes, key=lambda each: each.shape.parameters if each.shape else math.inf):
        bytes_ = _needed(known, size)
        if size.shape is None or bytes_ is None:
            reasons.append(f"{size.recipe.name}: {size.recipe.base.model}, size not known here")
            continue
        told = f"{size.shape.parameters / 1e9:.3g} billion parameters, at least {bytes_ / GB:.1f} GB to train"
        there = known.memory is None or bytes_ <= known.memory
        reasons.append(f"{size.recipe.name}: {told}{'' if there else f', more than {known.device} has'}")
        fits += [size] if there else []
    own = known.recipe
    compared = {size.recipe.base.model for size in known.sizes}
    judged = ((known.results or {}).get("recipe") or {}).get("base", {}).get("model")
    if known.results and judged in compared:
        decision = known.results["gate"]["decision"]
        reasons.append(f"measured: a run by a recipe on {judged} ended with {decision}")
    if not fits:
        state = NO if any(size.shape for size in known.sizes) else UNKNOWN
        said = f"{own.base.model}, as the recipe says; " + (
            f"no size that is known here fits {known.device}" if state == NO else "its size is not known here"
        )
        return Answer("which size", state, said, reasons, "" if state == NO else _build_base(known))
    smallest = fits[0].recipe
    if smallest.name == own.name:
        said = f"{own.base.model}: the smallest that is known here; go up only if it does not ship"
        return Answer("which size", YES, said, reasons)
    said = (
        f"{own.base.model} is what the recipe says; {smallest.base.model} is smaller and may do: try it first"
    )
    return Answer("which size", YES, said, reasons, known.run(f"--recipe={smallest.name}"))


def _build_base(known: Known) -> str:
    return f"python -m seatrial.training {known.task.folder} (its first step brings the base to the store)"


def _length(known: Known, recipe: Recipe) -> int | None:
    """Tokens of the longest row of a batch; None where the rows' tokens are not known."""
    most, lengths = recipe.trainer.max_length, known.rows.lengths
    if recipe.trainer.packing:
        return most
    return min(most, max(lengths.rows)) if lengths else None


def _needed(known: Known, size: Size) -> float | None:
    """Bytes that training takes at least: without the rows' tokens, those of weights and adapter."""
    if size.shape is None:
        return None
    length = _length(known, size.recipe)
    parts = training_bytes(size.shape, size.recipe, known.dtype, length or 0)
    return sum(parts.values()) if parts else None


def _memory(known: Known) -> Answer:
    question, recipe = "does it fit", known.recipe
    if known.shape is None:
        said = f"not known: the shape of {recipe.base.model} is not known here"
        return Answer(question, UNKNOWN, said, (), _build_base(known))
    length = _length(known, recipe)
    most = length or recipe.trainer.max_length
    parts = training_bytes(known.shape, recipe, known.dtype, most)
    least = _needed(known, known.sizes[0])
    if parts is None or least is None:
        said = "not known: the recipe trains modules that are not counted here"
        return Answer(question, UNKNOWN, said, (f"target_modules = {recipe.lora.target_modules}",))
    total = sum(parts.values())
    why = "the longest row" if length and not recipe.trainer.packing else "max_length"
    reasons = [
        f"{name}: {value / GB:.2f} GB" for name, value in sorted(parts.items(), key=lambda each: -each[1])
    ]
    reasons += [
        f"batch of {recipe.trainer.batch_size} rows of {most} tokens ({why}), computed in {known.dtype}",
        "an estimate by formulas, not measured; a driver's context and an allocator's gaps come on top",
    ]
    figures = {**parts, "least": least, "total": total, "memory": known.memory}
    if known.memory is None:
        said = f"at least {least / GB:.1f} GB; what the device has is not known"
        return Answer(question, UNKNOWN, said, reasons, "--memory=GB says it", figures)
    there = f"{known.memory / GB:.1f} GB"
    reasons.append(f"{known.device}: {there}")
    if least > known.memory:
        said = f"no: at least {least / GB:.1f} GB, and there are {there}"
        todo = (
            "a smaller batch_size with more gradient_accumulation, gradient_checkpointing, or a smaller base"
        )
        return Answer(question, NO, said, reasons, todo, figures)
    if total > known.memory:
        said = (
            f"not known: {least / GB:.1f} GB of {there} before any row, {total / GB:.1f} GB with the longest"
        )
        return Answer(
            question, UNKNOWN, f"{said} that max_length allows", reasons, _build_base(known), figures
        )
    said = f"by the estimate: at least {total / GB:.1f} GB of {there}"
    return Answer(question, YES, said, reasons, "", figures)


def _rank(known: Known) -> Answer:
    question, lora, lengths = "which rank", known.recipe.lora, known.rows.lengths
    trained = adapter_parameters(known.shape, lora) if known.shape else None
    if known.shape is None or trained is None:
        said = f"r = {lora.r}, as the recipe says; whether that holds the rows is not known"
        return Answer(
            question, UNKNOWN, said, ("the shape of the base is not known here",), _build_base(known)
        )
    if lengths is None:
        said = f"r = {lora.r}, as the recipe says; whether that holds the rows is not known"
        return Answer(question, UNKNOWN, said, ("the rows' tokens are not known",), _build_base(known))
    capacity = trained * rule("capacity_bits").value
    each, where = _bits_a_token(known)
    bits = sum(lengths.answers) * each
    reasons = [
        f"the answers have {sum(lengths.answers):,} tokens of {each:.1f} bits ({where}): {_bits(bits)}",
        f"r = {lora.r} trains {trained:,} parameters, which hold {_bits(capacity)}",
        f"rule of thumb: {rule('capacity_bits').told()}",
    ]
    figures = {"adapter_parameters": trained, "capacity_bits": capacity, "answer_bits": bits}
    if bits <= capacity:
        said = (
            f"r = {lora.r} is enough: it holds {capacity / max(bits, 1.0):.3g} times what the answers can say"
        )
        return Answer(question, YES, said, reasons, "", figures)
    wanted = lora.r
    while (adapter_parameters(known.shape, lora, wanted) or math.inf) * rule("capacity_bits").value < bits:
        wanted *= 2
    said = (
        f"r = {lora.r} may be too small: from r = {wanted} on an adapter holds all that the answers can say"
    )
    return Answer(question, UNKNOWN, said, reasons, "[lora] r in the recipe; seatrial compare", figures)


def _bits_a_token(known: Known) -> tuple[float, str]:
    """What the base does not know of a token of the answers: measured by its perplexity, else at most."""
    assert known.shape is not None
    for verdict in (known.results or {}).get("verdicts", ()):
        against = verdict["against"]
        if verdict["metric"] == "perplexity" and against and against["model"] == "base":
            return math.log2(max(1.0, against["value"])), f"base's perplexity, {verdict['criterion']}"
    return math.log2(
        known.shape.vocabulary
    ), "at most, log2 of the vocabulary: its perplexity was not measured"


def _bits(bits: float) -> str:
    return f"{bits / 1e6:.3g} million bits"


# --- how long, what it costs, when it pays ----------------------------------------------------------------


def _time(known: Known) -> Answer:
    question, trainer, rows = "how long", known.recipe.trainer, known.rows
    train = rows.count - trainer.validation_rows
    if train <= 0:
        return Answer(question, UNKNOWN, "not known: no row is left to train on")
    if trainer.packing:
        steps, told = None, "rows are packed, so updates an epoch follow from their tokens"
    else:
        batches = math.ceil(train / trainer.batch_size)
        steps = math.ceil(math.ceil(batches / trainer.gradient_accumulation) * trainer.epochs)
        at_once = trainer.batch_size * trainer.gradient_accumulation
        told = f"{steps:,} updates: {train:,} rows, {at_once} an update, {trainer.epochs:g} epochs"
    measure = f"python -m seatrial.training {known.task.folder}, on the machine that counts"
    if known.pace is None or rows.lengths is None:
        lacks = "the rows' tokens are not known" if known.pace else "no training of this base was measured"
        return Answer(question, UNKNOWN, f"not known: {lacks}", (told,), measure, {"updates": steps})
    tokens = trained_tokens(rows.lengths, known.recipe)
    seconds = seconds_for(known.pace, rows.lengths, known.recipe)
    reasons = (
        told,
        f"{tokens:,.0f} tokens, {trainer.epochs:g} epochs of {train:,} rows",
        f"{known.pace.tokens_per_second:,.0f} tokens/s in the training of {known.pace.built_at} "
        f"(adapter {known.pace.key[:12]}): that machine's speed, which need not be this one's",
    )
    said = f"about {_duration(seconds)} of training, without merge, export and judging"
    return Answer(question, YES, said, reasons, "", {"updates": steps, "seconds": seconds, "tokens": tokens})


def _duration(seconds: float) -> str:
    return f"{seconds / HOUR:.1f} h" if seconds >= 2 * HOUR else f"{seconds / 60:.0f} min"


def _cost(known: Known, time: Answer) -> Answer:
    question, seconds = "what it costs", time.figures.get("seconds")
    if known.gpu_hour is None:
        said = "not known: no price of an hour was given"
        return Answer(question, UNKNOWN, said, (), "--gpu-hour=PRICE, in dollars")
    if seconds is None:
        said = f"not known: the time is not; an hour costs {_money(known.gpu_hour)}"
        return Answer(question, UNKNOWN, said, (), time.measure)
    dollars = seconds / HOUR * known.gpu_hour
    reasons = (f"{_duration(seconds)} at {_money(known.gpu_hour)} an hour, on a machine of the same speed",)
    return Answer(question, YES, f"{_money(dollars)} a training", reasons, "", {"dollars": dollars})


def _break_even(known: Known, cost: Answer) -> Iterator[Answer]:
    question = "does it pay"
    if known.requests_a_day is None:
        yield Answer(
            question, UNKNOWN, "not known: no number of requests was given", (), "--requests-per-day=N"
        )
        return
    models = {each["model"]: each for each in overview(known.results)} if known.results else {}
    priced = {name: each for name, each in models.items() if each["cost_basis"] == "by tokens"}
    own = models.get(JUDGED, {})
    prices = (known.results or {}).get("prices") or {}
    hour = (prices.get(JUDGED) or {}).get("per_hour")
    hour, whose = (known.gpu_hour, "--gpu-hour") if hour is None else (hour, "prices.toml")
    then = f"{known.run()}, then --results={_latest(known)}"
    lacking = {
        f'an endpoint: [models.NAME] kind = "openai", the price of its tokens in prices.toml, {then}': priced,
        "an own machine's price: --gpu-hour=PRICE, or per_hour of [models.shipped]": hour is not None,
        f"the time of an own answer: {then}": own.get("answer_seconds"),
    }
    if missing := [what for what, there in lacking.items() if not there]:
        yield Answer(question, UNKNOWN, "not known: something was not measured", (), "; ".join(missing))
        return
    assert hour is not None
    for name, each in priced.items():
        yield _against(known, name, each["cost_per_1000"], own["answer_seconds"], hour, whose, cost)


def _against(
    known: Known, name: str, per_1000: float, seconds: float, hour: float, whose: str, cost: Answer
) -> Answer:
    question, requests = f"does it pay against {name}", known.requests_a_day or 0
    found = break_even(requests, per_1000, seconds, hour, cost.figures.get("dollars"))
    if found is None:
        return Answer(question, UNKNOWN, "not known: no request a day", (), "--requests-per-day=N")
    machines = "1 machine" if found.machines == 1 else f"{found.machines} machines"
    reasons = [
        f"{name}: {_money(per_1000)} for 1,000 requests, {_money(found.endpoint_a_day)} a day",
        f"own: {machines}, 24 hours at {_money(hour)} ({whose}), {_money(found.own_a_day)} a day; "
        f"{seconds:.3g} s an answer, one after the other",
    ]
    if found.from_requests is not None:
        told = f"{machines} cost less from {found.from_requests:,.0f} requests a day on"
        reasons.append(f"{told}, as far as they can serve them")
    figures = {**vars(found), "days": found.days if found.days != math.inf else None}
    if found.days == math.inf:
        return Answer(question, NO, f"never, at {requests:,} requests a day", reasons, "", figures)
    if found.days is None:
        saved = _money(found.endpoint_a_day - found.own_a_day)
        said = f"it saves {saved} a day; after how many days is not known, as the cost of training is not"
        return Answer(question, UNKNOWN, said, reasons, cost.measure, figures)
    said = f"after {found.days:.1f} days, at {requests:,} requests a day"
    return Answer(question, YES, said, reasons, "", figures)


def _money(dollars: float) -> str:
    return f"${dollars:,.2f}" if dollars >= 0.1 or dollars == 0 else f"${dollars:.2g}"
