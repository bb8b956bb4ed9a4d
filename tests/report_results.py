"""Small made-up results of a release run, as the gate hands them to the report.

They are made of the real ``Verdict`` and ``Measured``, so that a changed field breaks the report's tests.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

from seatrial.evals.criterion import Loss
from seatrial.evals.verdict import (
    FAIL,
    INCONCLUSIVE,
    NOT_EVALUATED,
    PASS,
    Measured,
    Miss,
    Verdict,
    verdict_for,
)

OPERATIONS = ("create", "list", "update", "complete", "delete")
CASES = [f"domain-{operation}-{number}" for operation in OPERATIONS for number in (1, 2, 3, 4)]
WRONG = {
    "base": [case for index, case in enumerate(CASES) if index % 5 != 2],
    "prompted_base": [case for index, case in enumerate(CASES) if index % 3 == 0],
    "adapter": [],
    "merged": [],
    "f16": [],
    "q8_0": [],
    "q5_k_m": ["domain-list-2"],
    "shipped": ["domain-update-3"],
    "ollama": ["domain-update-3"],
}
PERPLEXITIES = {
    "base": 11.8,
    "adapter": 1.29,
    "merged": 1.29,
    "f16": 1.2903,
    "q8_0": 1.291,
    "q5_k_m": 1.31,
    "shipped": 1.34,
}
NO_SERVER = {"ollama": "no Ollama server answers"}
LOSSES = {
    "operations": Loss(
        id="LOSS.operations",
        title="Operations understood",
        metric="accuracy",
        cases="domain",
        margin=0.05,
        why="One case of 20: no stage may cost more than a near tie that flips.",
    ),
    "perplexity": Loss(
        id="LOSS.perplexity",
        title="Perplexity of held-out answers",
        metric="perplexity",
        cases="heldout",
        margin=0.05,
        why="Far beyond what rounding to 4 bits costs this model, far below what training won.",
    ),
}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def answer(model: str, case: str) -> str:
    operation = case.split("-")[1] if case not in WRONG[model] else "create"
    if model == "base":
        return f"Sure! Here is how you can {operation} a task:\n\n1. Open the app.\n2. Choose {operation}."
    reply = "I updated the task. Would you like to see your tasks?"
    return f'{{"operation": "{operation}", "arguments": {{"task": "water the plants"}}, "reply": "{reply}"}}'


def shares(model: str, wrong: list[str] | None = None) -> Measured:
    """Operation accuracy of one model over the 20 domain cases, with made-up but possible bounds."""
    scores = {case: 0.0 if case in (WRONG[model] if wrong is None else wrong) else 1.0 for case in CASES}
    value = sum(scores.values()) / len(CASES)
    groups = {}
    for operation in OPERATIONS:
        part = [score for case, score in scores.items() if operation in case]
        groups[operation] = {"value": sum(part) / len(part), "n": len(part)}
    answers = {case: answer(model, case) for case in CASES}
    low, high = max(value - 0.2, 0.0), min(value + 0.17 * (1 - value) + 0.02, 1.0)
    return Measured(model, value, low, high, 20, "Wilson", groups, scores, answers)


def miss(case: str = "domain-update-3", **changes: str) -> Miss:
    facts = {
        "prompt": "Push the dentist back to Friday.",
        "expected": '{"operation": "update", "arguments": {"task": "dentist", "due": "Friday"}}',
        "actual": answer("shipped", case),
        "reason": "operation 'create', expected 'update'",
        "where": "golden/task_api/cases/domain.jsonl:11",
    }
    return Miss(case, **(facts | changes))


def verdict(criterion: str, title: str, status: str = PASS, **fields: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "required": True,
        "metric": "accuracy",
        "unit": "share",
        "better": "higher",
        "rule": "point",
        "requirement": "accuracy >= 90 %",
        "threshold": 0.9,
        "why": "Specification: at least 90 % of 20 questions, four per operation.",
    }
    made = Verdict(criterion, title, status, **(usual | fields)).to_json()
    return made | {"artifacts": [artifact["key"] for artifact in made["artifacts"]]}


def single(value: float) -> Measured:
    return Measured("shipped", value, None, None, 1, "measured once")


def seconds(value: float, low: float, high: float) -> Measured:
    return Measured("shipped", value, low, high, 20, "bootstrap")


def perplexity(model: str, value: float) -> Measured:
    return Measured(model, value, value * 0.93, value * 1.08, 60, "bootstrap over rows")


def superior(metric: str, against: str) -> dict[str, Any]:
    return {
        "rule": "superior",
        "metric": metric,
        "threshold": 0.0,
        "requirement": f"{metric} of shipped better than of {against}, surely (95% confidence)",
        "why": "The fair rival is the base with the contract and examples in its prompt.",
    }


def difference(value: float, low: float, high: float, p: float | None = None) -> dict[str, Any]:
    return {
        "difference": value,
        "low": low,
        "high": high,
        "p_value": p,
        "method": "paired bootstrap",
    }


def verdicts() -> list[dict[str, Any]]:
    base, prompted, shipped = (shares(model) for model in ("base", "prompted_base", "shipped"))
    lower: dict[str, Any] = {"unit": "", "better": "lower"}
    return [
        verdict(
            "SC-1",
            "Domain understanding: the right operation",
            measured=shipped,
            misses=[miss()],
            cases_needed=140,
            advice="add training rows phrased like the missed questions",
        ),
        verdict(
            "SC-2",
            "Response quality: mean rating, 1 to 5",
            metric="response_rating",
            unit="points",
            requirement="response_rating >= 4 points",
            threshold=4.0,
            measured=Measured("shipped", 4.42, 4.21, 4.63, 30, "bootstrap"),
            notes=["Rated by the automatic rubric: nobody has filled in golden/task_api/ratings.csv."],
            why="Specification: acknowledges the action, offers a relevant follow-up, consistent terms.",
        ),
        verdict(
            "SC-3.perplexity",
            "Perplexity on held-out task rows, tuned against base",
            **superior("perplexity", "base") | lower,
            measured=perplexity("shipped", 1.34),
            against=perplexity("base", 11.8),
            comparison=difference(-10.46, -12.9, -8.31),
        ),
        verdict(
            "SC-3.perplexity-prompted",
            "Perplexity on held-out task rows, tuned against the well-prompted base",
            **superior("perplexity", "prompted_base") | lower,
            measured=perplexity("shipped", 1.34),
            against=perplexity("prompted_base", 3.71),
            comparison=difference(-2.37, -2.8, -1.95),
        ),
        verdict(
            "SC-3.operations",
            "Operation accuracy, tuned against base",
            **superior("accuracy", "base"),
            measured=shipped,
            against=base,
            comparison=difference(0.75, 0.55, 0.9, 6.1e-5),
        ),
        verdict(
            "SC-3.operations-prompted",
            "Operation accuracy, tuned against the well-prompted base",
            **superior("accuracy", "prompted_base"),
            measured=shipped,
            against=prompted,
            comparison=difference(0.3, 0.1, 0.5, 0.0313),
        ),
        verdict(
            "SC-3.general",
            "General questions answered, tuned against base",
            FAIL,
            required=False,
            metric="keyword_recall",
            rule="non_inferior",
            requirement="keyword_recall of shipped at most 10 % worse than base (95% confidence)",
            threshold=-0.1,
            why="Shows what tuning cost. Not required: general questions are outside the intent.",
            measured=Measured("shipped", 0.2, 0.08, 0.42, 20, "Wilson"),
            against=Measured("base", 0.55, 0.34, 0.74, 20, "Wilson"),
            comparison=difference(-0.35, -0.55, -0.15, 0.016),
        ),
        verdict(
            "SC-4.size",
            "Size of the shipped file, GB",
            metric="file_size",
            **lower | {"unit": "GB"},
            requirement="file_size <= 5 GB",
            threshold=5.0,
            why="Specification: a Q4 GGUF under 5 GB.",
            measured=single(0.105454),
            artifacts=[{"key": digest("key quantized")[:32]}],
        ),
        verdict(
            "SCHEMA.valid",
            "Answers that fulfil the contract's schema",
            metric="schema_validity",
            requirement="schema_validity >= 99 %",
            threshold=0.99,
            why="The task API rejects what does not fulfil the schema.",
            measured=Measured("shipped", 0.9946, 0.9805, 0.9985, 370, "Wilson"),
            misses=[miss("edge-empty", prompt="", actual="", reason="no JSON object in the answer")],
        ),
        verdict(
            "LATENCY.first-token",
            "Time to first token, 95th percentile, seconds",
            metric="first_token_seconds",
            **lower | {"unit": "s"},
            requirement="first_token_seconds <= 2 s",
            threshold=2.0,
            why="A person waits about two seconds before the assistant seems dead.",
            measured=seconds(0.241, 0.212, 0.27),
        ),
        verdict(
            "LATENCY.answer-p95",
            "Whole answer, 95th percentile, seconds",
            metric="answer_seconds",
            **lower | {"unit": "s"},
            requirement="answer_seconds <= 10 s",
            threshold=10.0,
            why="The slowest answers must stay under the usual client time-out of ten seconds.",
            measured=seconds(2.13, 1.9, 2.31),
        ),
        *fidelity(),
        *operations(),
        *perplexities(),
    ]


def fidelity(*wrong: Miss) -> list[dict[str, Any]]:
    """Checks of 272 tensors, of which ``wrong`` differ, and a divergence."""
    stages = tuple(dict.fromkeys(each.stage for each in wrong))
    share = 1 - len(wrong) / 272
    return [
        verdict(
            "FIDELITY.weights",
            "Every tensor as close to the trained one as its quantisation allows",
            FAIL if wrong else PASS,
            metric="weights_parity",
            requirement="weights_parity >= 100 %",
            threshold=1.0,
            why="One damaged tensor of 272 may cost only some answers, and those of a user.",
            measured=Measured("shipped", share, None, None, 272, "all counted"),
            misses=wrong,
            stages=stages,
        ),
        verdict(
            "FIDELITY.kl",
            "Divergence of the shipped file from the trained model, nats per token",
            metric="kl_divergence",
            unit="nats",
            better="lower",
            requirement="kl_divergence <= 0.03 nats",
            threshold=0.03,
            why="Q4_K_M measures 0.005 on this model.",
            measured=Measured("shipped", 0.0052, 0.0041, 0.0066, 60, "bootstrap over rows"),
        ),
    ]


def check(name: str = "rope.freq_base", stage: str = "conversion", **changes: str) -> Miss:
    """A check of the file that found something else than was trained."""
    facts = {
        "prompt": "",
        "expected": "100000",
        "actual": "10000",
        "reason": f"differs from the trained model ({stage})",
    }
    return Miss(name, stage=stage, **(facts | changes))


def operations(missing: Mapping[str, str] = NO_SERVER, **wrong: list[str]) -> list[dict[str, Any]]:
    """The steps of operation accuracy; ``wrong`` names the cases that a model has wrong, if not the usual."""
    models = {model: shares(model, wrong.get(model)) for model in WRONG}
    return chain(LOSSES["operations"], models, missing)


def perplexities(missing: Mapping[str, str] = NO_SERVER, **values: float) -> list[dict[str, Any]]:
    """The steps of perplexity; ``values`` replace the usual ones."""
    usual = PERPLEXITIES | values
    models = {model: perplexity(model, value) for model, value in usual.items()}
    return chain(LOSSES["perplexity"], models, missing)


def chain(loss: Loss, models: Mapping[str, Measured], missing: Mapping[str, str]) -> list[dict[str, Any]]:
    """The verdicts on a loss, by its own criteria; a step that ``missing`` names has a reason instead."""
    unit, better = ("", "lower") if loss.metric == "perplexity" else ("share", "higher")
    made = []
    for criterion in loss.criteria():
        reason = missing.get(criterion.id.rpartition(".")[2])
        if reason:
            made.append(verdict_for(criterion, NOT_EVALUATED, unit, better, reason=reason))
            continue
        measured, against = models[criterion.model], models[str(criterion.against)]
        found = paired(measured, against)
        worse = found["difference"] * (1 if better == "lower" else -1)
        failed = worse > loss.margin + 1e-9
        misses = [miss(case) for case, score in measured.scores.items() if score == 0]
        facts = {"measured": measured, "against": against, "comparison": found, "misses": misses}
        status, stages = (FAIL, (criterion.stage,)) if failed else (PASS, ())
        made.append(verdict_for(criterion, status, unit, better, stages=stages, **facts))
    return [each.to_json() | {"artifacts": []} for each in made]


def paired(measured: Measured, against: Measured) -> dict[str, Any]:
    """The difference of two models: with the exact McNemar p-value, and an interval of a possible size."""
    value = measured.value - against.value
    if not measured.scores:
        return difference(value, value - 0.1 * abs(value) - 0.001, value + 0.1 * abs(value) + 0.001)
    changes = [measured.scores[case] - against.scores[case] for case in CASES]
    swaps = sum(map(abs, changes))
    least = (swaps - abs(sum(changes))) / 2  # on the smaller side
    tail = sum(math.comb(int(swaps), k) for k in range(int(least) + 1)) / 2**swaps
    spread = math.sqrt(swaps) / len(CASES)
    return difference(value, value - spread, value + spread, min(2 * tail, 1.0) if swaps else 1.0)


def unevaluated(criterion: str = "SC-4.ollama", reason: str = "no Ollama server answers") -> dict[str, Any]:
    return verdict(
        criterion,
        "The shipped file answers in Ollama",
        NOT_EVALUATED,
        metric="ollama_answers",
        requirement="ollama_answers >= 100 %",
        threshold=1.0,
        why="Specification: loads and generates in Ollama.",
        reason=reason,
    )


def failing() -> dict[str, Any]:
    low = Measured("shipped", 0.75, 0.531, 0.888, 20, "Wilson")
    return verdict("SC-1", "Domain understanding: the right operation", FAIL, measured=low, misses=[miss()])


def inconclusive() -> dict[str, Any]:
    return verdict(
        "SC-1",
        "Domain understanding: the right operation",
        INCONCLUSIVE,
        rule="confident",
        requirement="accuracy >= 90 %, surely (95% confidence)",
        reason="the interval holds the threshold",
        measured=shares("shipped"),
        cases_needed=140,
    )


def observation(case: str, missed: bool = False, hard: bool = False, **changes: Any) -> dict[str, Any]:
    return {
        "nodeid": f"evals/test_domain.py::test_operation[{case}]",
        "case": case,
        "where": f"golden/task_api/cases/domain.jsonl:{CASES.index(case) + 1 if case in CASES else 1}",
        "test": "test_operation",
        "missed": missed,
        "hard": hard,
        "metric": "accuracy",
        "prompt": "Push the dentist back to Friday.",
        "expected": "update",
        "actual": answer("shipped", case) if case in CASES else "{}",
        "reason": "operation 'create', expected 'update'" if missed else "",
        **changes,
    }


def artifact(step: str, built: float, files: dict[str, int], built_now: bool, **more: Any) -> dict[str, Any]:
    return {
        "key": digest(f"key {step}")[:32],
        "step": step,
        "title": f"{step} of a lamp",
        "version": 1,
        "params": {},
        "inputs": {},
        "facts": {},
        "files": {name: {"sha256": digest(name), "bytes": count} for name, count in files.items()},
        "packages": {"torch": "2.13.0", "bitsandbytes": None},
        "seconds": built,
        "built_at": "2026-11-21T12:51:07Z",
        "built_now": built_now,
        **more,
    }


def history() -> list[dict[str, Any]]:
    """A trainer's log over 170 steps: loss every 5, evaluation every 50, and the closing summary."""
    log: list[dict[str, Any]] = []
    for step in range(5, 175, 5):
        loss = 0.16 + 2.7 * math.exp(-step / 24) + 0.04 * math.sin(step)
        log.append(
            {
                "step": step,
                "epoch": step / 58,
                "loss": loss,
                "learning_rate": 8e-4,
                "grad_norm": 0.7,
            }
        )
        if step % 50 == 0:
            log.append({"step": step, "epoch": step / 58, "eval_loss": 0.21 + 2.2 * math.exp(-step / 26)})
    return [*log, {"step": 170, "epoch": 2.93, "train_loss": 0.51, "train_runtime": 402.1}]


def timings() -> list[dict[str, Any]]:
    return [
        {
            "case": case,
            "seconds": 1.1 + 0.05 * ((7 * index) % 20) + (0.4 if index == 13 else 0),
            "first_token_seconds": 0.16 + 0.006 * ((3 * index) % 17),
            "completion_tokens": 38 + index,
        }
        for index, case in enumerate(CASES)
    ]


def results(**changes: Any) -> dict[str, Any]:
    """The results of a run that may ship; ``changes`` replace top-level entries."""
    gguf = "task_api-q4_k_m.gguf"
    usual: dict[str, Any] = {
        "schema_version": 1,
        "task": {
            "name": "task_api",
            "title": "Task API assistant",
            "intent": "Understands requests about tasks and answers each with one JSON object.",
            "non_goals": ["Executing the calls.", "Memory over several turns."],
            "constraints": ["The shipped file is a Q4 GGUF under 5 GB."],
            "sha256": digest("task.toml"),
        },
        "gate": {"decision": "SHIP", "exit_status": 0, "reasons": []},
        "run": {
            "id": "20261121T130000Z-1a2b",
            "started": "2026-11-21T13:00:00Z",
            "seconds": 783.4,
            "command": "pytest -m release --task golden/task_api",
            "python": "3.11.7",
            "platform": "Linux-6.8.0-x86_64-with-glibc2.36",
            "cpu": "Intel(R) Xeon(R) Processor @ 2.70GHz",
            "cores": 2,
            "memory_gb": 24.0,
            "packages": {
                "torch": "2.13.0",
                "transformers": "5.0.1",
                "peft": "0.19.0",
                "gguf": None,
            },
            "upgraded": {},
            "git": {"commit": "8f14e45fceea167a5a36dedd4bea2543ad0cbb02", "dirty": True},
        },
        "shipped": {
            "name": gguf,
            "sha256": digest(gguf),
            "bytes": 105453984,
            "runtime": "llama.cpp",
            "modelfile_sha256": digest("Modelfile"),
        },
        "program": None,
        "case_files": [
            {
                "case_set": name,
                "path": f"/tasks/task_api/cases/{name}.jsonl",
                "sha256": digest(name),
                "bytes": 4321,
                "cases": count,
                "own": True,
            }
            for name, count in (("domain", 20), ("regressions", 12))
        ],
        "recipe": {
            "name": "smollm2-135m-cpu",
            "backend": "trl",
            "base": {"model": "HuggingFaceTB/SmolLM2-135M-Instruct", "license": "Apache-2.0"},
            "lora": {"r": 16, "alpha": 32.0, "dropout": 0.0, "target_modules": "all-linear"},
            "export": {"quantizations": ["f16", "q8_0", "q5_k_m", "q4_k_m"], "ship": "q4_k_m"},
        },
        "verdicts": verdicts(),
        "observations": [observation(case, missed=case in WRONG["shipped"]) for case in CASES],
        "hard_cases": {"total": 12, "passed": 12, "missed": [], "not_evaluated": []},
        "tests": {"passed": 214, "failed": 0, "missed": 1, "skipped": 2, "errors": 0},
        "artifacts": [
            artifact(
                "dataset",
                0.3,
                {"rows.jsonl": 214_882},
                False,
                inputs={"rows": digest("train.jsonl")},
                facts={"training_rows": 460, "validation_rows": 40},
            ),
            artifact(
                "adapter",
                402.6,
                {"adapter_model.safetensors": 19_500_000, "adapter_config.json": 912},
                True,
            ),
            artifact("quantized", 3.9, {gguf: 105_453_984, "Modelfile": 514}, True),
        ],
        "adapter_history": history(),
        "timings": timings(),
        "modelfile": f'FROM ./{gguf}\nTEMPLATE """{{{{ range .Messages }}}}"""\nPARAMETER temperature 0\n',
    }
    unknown = set(changes) - set(usual)
    assert not unknown, f"no such entry in the results: {unknown}"
    whole = usual | changes
    gate = whole["gate"]
    told = {"spoken": gate["decision"], "summary": gate["reasons"], "waivers": []}
    return whole | {"gate": told | gate}


def refused(exit_status: int, *found: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Results of a run that may not ship; ``found`` are put before, or in place of, the usual verdicts."""
    ids = {each["criterion"] for each in found}
    reasons = [
        f"{each['criterion']} {each['status']}: {each['reason'] or each['title']}"
        for each in found
        if each["required"] and each["status"] != PASS
    ]
    gate = {"decision": "DO NOT SHIP", "exit_status": exit_status, "reasons": reasons}
    others = [each for each in verdicts() if each["criterion"] not in ids]
    return results(gate=gate, verdicts=[*found, *others], **changes)
