"""Small made-up results of a release run, as the gate hands them to the report.

They are made of the real ``Verdict`` and ``Measured``, so that a changed field breaks the report's tests.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

from evals.verdict import FAIL, INCONCLUSIVE, NOT_EVALUATED, PASS, Measured, Miss, Verdict

OPERATIONS = ("create", "list", "update", "complete", "delete")
CASES = [f"domain-{operation}-{number}" for operation in OPERATIONS for number in (1, 2, 3, 4)]
WRONG = {
    "base": [case for index, case in enumerate(CASES) if index % 5 != 2],
    "prompted_base": [case for index, case in enumerate(CASES) if index % 3 == 0],
    "shipped": ["domain-update-3"],
}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def answer(model: str, case: str) -> str:
    operation = case.split("-")[1] if case not in WRONG[model] else "create"
    if model == "base":
        return f"Sure! Here is how you can {operation} a task:\n\n1. Open the app.\n2. Choose {operation}."
    reply = "I updated the task. Would you like to see your tasks?"
    return f'{{"operation": "{operation}", "arguments": {{"task": "water the plants"}}, "reply": "{reply}"}}'


def shares(model: str) -> Measured:
    """Operation accuracy of one model over the 20 domain cases, with made-up but possible bounds."""
    scores = {case: 0.0 if case in WRONG[model] else 1.0 for case in CASES}
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
        "metric": "operation_accuracy",
        "unit": "share",
        "better": "higher",
        "rule": "point",
        "requirement": "operation_accuracy >= 90 %",
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
            **superior("operation_accuracy", "base"),
            measured=shipped,
            against=base,
            comparison=difference(0.75, 0.55, 0.9, 6.1e-5),
        ),
        verdict(
            "SC-3.operations-prompted",
            "Operation accuracy, tuned against the well-prompted base",
            **superior("operation_accuracy", "prompted_base"),
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
            why="Specification: a Q4 GGUF under 5 GB.",
            measured=single(0.105454),
            artifacts=[{"key": digest("key quantized")[:32]}],
        ),
        verdict(
            "SCHEMA.valid",
            "Answers that fulfil the contract's schema",
            metric="schema_validity",
            requirement="schema_validity >= 99 %",
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
            why="A person waits about two seconds before the assistant seems dead.",
            measured=seconds(0.241, 0.212, 0.27),
        ),
        verdict(
            "LATENCY.answer-p95",
            "Whole answer, 95th percentile, seconds",
            metric="answer_seconds",
            **lower | {"unit": "s"},
            requirement="answer_seconds <= 10 s",
            why="The slowest answers must stay under the usual client time-out of ten seconds.",
            measured=seconds(2.13, 1.9, 2.31),
        ),
    ]


def unevaluated(criterion: str = "SC-4.ollama", reason: str = "no Ollama server answers") -> dict[str, Any]:
    return verdict(
        criterion,
        "The shipped file answers in Ollama",
        NOT_EVALUATED,
        metric="ollama_answers",
        requirement="ollama_answers >= 100 %",
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
        requirement="operation_accuracy >= 90 %, surely (95% confidence)",
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
            "git": {"commit": "8f14e45fceea167a5a36dedd4bea2543ad0cbb02", "dirty": True},
        },
        "shipped": {
            "name": gguf,
            "sha256": digest(gguf),
            "bytes": 105453984,
            "runtime": "llama.cpp",
        },
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
    return usual | changes


def refused(exit_status: int, *found: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Results of a run that may not ship; ``found`` are put before, or in place of, the usual verdicts."""
    ids = {each["criterion"] for each in found}
    reasons = [f"{each['criterion']} {each['status']}: {each['reason'] or each['title']}" for each in found]
    gate = {"decision": "DO NOT SHIP", "exit_status": exit_status, "reasons": reasons}
    others = [each for each in verdicts() if each["criterion"] not in ids]
    return results(gate=gate, verdicts=[*found, *others], **changes)
