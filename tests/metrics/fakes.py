"""What the tests of this folder give a metric: answers, cases, criteria and evidence of golden/task_api."""

import json

from seatrial.evals.built import Built
from seatrial.evals.cases import Case
from seatrial.evals.evidence import Evidence
from seatrial.evals.metrics import METRICS
from seatrial.evals.models import Generation, Question
from seatrial.evals.task import Criterion, load_task
from seatrial.training.store import Artifact, file_digest
from tests.conftest import REPOSITORY

GOLDEN = REPOSITORY / "golden" / "task_api"
OPERATIONS = ("create", "list", "update", "complete", "delete", "none")
READER = load_task(GOLDEN).reader
RUBRIC = {
    "follow_up_words": ["anything", "would"],
    "foreign_terms": ["to-do", "ticket"],
    "acknowledgements": {"create": ["created", "added"]},
}
CREATE = {"operation": "create"}
MILK = {"operation": "create", "arguments": {"title": "buy milk"}}
REPLY = "I created the task. Would you like anything else?"
HOSTILE = {
    "braces": "{" * 20_000,
    "braces-apart": "{ " * 20_000,
    "braces-in-lines": "{\n" * 20_000,
    "brackets": "[" * 100_000,
    "nested": '{"a":' * 3_000,
    "mixed": '[{"a":' * 2_000,
    "many-digits": '{"a": ' + "9" * 10_000 + "}",
    "marks": "mark " * 20_000,
    "quotes": '{"' * 20_000,
    "backslashes": '{"a": "' + "\\" * 20_001,
    "nul": '{"operation": "\x00\x00"}\x00',
    "surrogate": '{"operation": "\\ud800"}',
    "right-to-left": "\u202e{}" * 2_000,
    "one-word": "a" * 50_000,
}


def answer(operation="create", arguments=None, reply=REPLY, **more):
    arguments = {"title": "buy milk"} if arguments is None else arguments
    return json.dumps({"operation": operation, "arguments": arguments, "reply": reply, **more})


def case_of(expect=None, prompt="add buy milk", reference=None):
    question = Question("c-1", ({"role": "user", "content": prompt},), reference)
    expect = expect or {}
    label = expect.get("operation", "")
    return Case("c-1", question, "domain", "cases/domain.jsonl:4", expect, label=label)


def criterion_for(metric, cases=("domain",), **more):
    return Criterion(id="X-1", title="t", why="w", metric=metric, cases=cases, at_least=0.5, **more)


def evidence_with(models=None, export=None, ratings=None, cases=(), store=None, absent=None):
    task = load_task(GOLDEN)
    sets = {name: [] for name in task.case_sets} | {"domain": list(cases)}
    return Evidence(store, task, sets, models or {}, export or Built(), ratings or {}, absent)


def score(metric, text, expect=None, *, prompt="add buy milk", reference=None, settings=None, **generation):
    """The score of one answer."""
    case = case_of(expect, prompt, reference)
    criterion = criterion_for(metric, settings=settings or {})
    return METRICS[metric].judge(case, Generation(text, **generation), criterion, evidence_with())


def artifact(folder, name, content, **facts):
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(content, encoding="utf-8")
    files = {name: {"sha256": file_digest(path), "bytes": len(content)}}
    manifest = {"key": name, "step": folder.name, "files": files, "facts": facts, "seconds": 90.0}
    return Artifact(folder, manifest)


class Answers:
    """A model that gives every question the same answer."""

    def __init__(self, name, generation):
        self.name, self.generation, self.identity = name, generation, {"is": name}

    def generate(self, questions, max_tokens, log):
        return [self.generation for _ in questions]


class Shelf:
    """A store that builds in place."""

    def __init__(self, root, **facts):
        self.root, self.facts = root, facts

    def build(self, step):
        folder = self.root / step.key
        if self.facts:  # a step that needs torch
            return artifact(folder, "nothing", "", **self.facts)
        folder.mkdir(exist_ok=True)
        return Artifact(
            folder, {"key": step.key, "files": {}, "facts": step.build(folder, None), "seconds": 0}
        )
