"""The golden data keeps its own promises (golden/README.md), and training has not seen it.

Reads files only, and imports nothing of Seatrial's, so that it judges the data and not the code that
loads it:

    python -m pytest tests/test_golden.py
"""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from rouge_score.rouge_scorer import RougeScorer

REPOSITORY = Path(__file__).resolve().parents[1]
TASK = REPOSITORY / "golden" / "task_api"
TRAINING_FILE = REPOSITORY / "training" / "data" / "task_api" / "train.jsonl"

CASE_FILES = sorted((TASK / "cases").glob("*.jsonl"))
FIELDS = ["id", "prompt", "expect", "reference", "tags"]
OPTIONAL_FIELDS = {"reference"}
REGRESSION_FIELDS = ["note", "history"]
OPERATIONS = ["create", "list", "update", "complete", "delete"]
NEAR_DUPLICATE = 0.85  # ROUGE-L F1 over words
SHORTEST_COMPARED = 3  # words; below it one shared word decides, so only an equal prompt counts


def read_rows(path: Path) -> list[dict]:
    """The rows of a JSONL file; ValueError names the line that is no JSON."""
    rows = []
    lines = path.read_text(encoding="utf-8").split("\n")  # not splitlines: U+2028 ends no row
    for number, line in enumerate(lines if lines[-1] else lines[:-1], start=1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}:{number}: {error}") from error
    return rows


def cases(name: str) -> list[dict]:
    return read_rows(TASK / "cases" / f"{name}.jsonl")


def all_cases() -> list[dict]:
    return [row for path in CASE_FILES for row in read_rows(path)]


def asked(row: dict) -> str:
    """What the person says last."""
    return row["messages"][-1]["content"] if "messages" in row else row["prompt"]


def errors_of(answer: object) -> list[str]:
    """What the output contract objects to in one answer; empty when it is valid."""
    schema = json.loads((TASK / "contract.schema.json").read_text(encoding="utf-8"))
    return [error.message for error in Draft202012Validator(schema).iter_errors(answer)]


def words(prompt: str) -> list[str]:
    """The words of a prompt, without case, punctuation and white space."""
    return re.sub(r"[\W_]+", " ", prompt.casefold()).split()


def training_prompts(path: Path) -> list[str]:
    """Every human turn of a ShareGPT file."""
    prompts = []
    for number, row in enumerate(read_rows(path), start=1):
        human = [turn["value"] for turn in row["conversations"] if turn["from"] == "human"]
        if not human:
            raise ValueError(f"{path}:{number}: no turn from 'human' in this row")
        prompts += human
    if not prompts:
        raise ValueError(f"{path}: no rows")
    return prompts


class Words:
    """Lets rouge_score compare `words`: its own tokenizer drops every letter outside a-z."""

    @staticmethod
    def tokenize(text: str) -> list[str]:
        return words(text)


def leaks(golden: list[dict], trained: list[str]) -> list[tuple[str, str, float]]:
    """(case id, training prompt, ROUGE-L F1) of each pair that is equal or nearly so."""
    scorer = RougeScorer(["rougeL"], tokenizer=Words())
    trained_words = [(prompt, words(prompt)) for prompt in dict.fromkeys(trained)]
    found = []
    for row in golden:
        mine = words(asked(row))
        if not mine:  # the empty prompts among the edge cases
            continue
        for prompt, theirs in trained_words:
            if mine == theirs:
                found.append((row["id"], prompt, 1.0))
                continue
            if min(len(mine), len(theirs)) < SHORTEST_COMPARED:
                continue
            # The shared words bound the common subsequence from above, and cost much less.
            shared = (Counter(mine) & Counter(theirs)).total()
            if 2 * shared / (len(mine) + len(theirs)) < NEAR_DUPLICATE:
                continue
            score = scorer.score(asked(row), prompt)["rougeL"].fmeasure
            if score >= NEAR_DUPLICATE:
                found.append((row["id"], prompt, score))
    return found


# ---------------------------------------------------------------- files and rows


def test_every_case_file_that_the_readme_names_is_there():
    readme = (REPOSITORY / "golden" / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`cases/([a-z-]+\.jsonl)`", readme))

    assert named == {path.name for path in CASE_FILES}


@pytest.mark.parametrize("path", CASE_FILES, ids=lambda path: path.stem)
def test_each_line_is_one_object_written_in_the_one_way(path):
    text = path.read_text(encoding="utf-8")
    canonical = [json.dumps(row, ensure_ascii=False) for row in read_rows(path)]

    assert text == "".join(line + "\n" for line in canonical)


@pytest.mark.parametrize("row", all_cases(), ids=lambda row: row["id"])
def test_case_has_the_fields_of_a_case_in_their_order(row):
    regression = row in cases("regressions")
    in_order = [field for field in FIELDS if field in row or field not in OPTIONAL_FIELDS]
    if regression and "messages" in row:
        in_order[1] = "messages"

    # A regression says more about where it comes from; what it says comes after the tags.
    more = [field for field in REGRESSION_FIELDS if field in row] if regression else []
    assert list(row) == in_order + more
    assert isinstance(asked(row), str)
    assert isinstance(row["expect"], dict)
    assert row["tags"] and all(isinstance(tag, str) for tag in row["tags"])


def test_ids_are_unique_over_all_files_and_fit_for_a_test_id():
    ids = Counter(row["id"] for row in all_cases())

    assert [name for name, count in ids.items() if count > 1] == []
    assert [name for name in ids if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name)] == []


def test_no_prompt_is_asked_twice():
    # A regression may ask again what a case asks: the failure that was seen is what is new.
    first_asked = [row for row in all_cases() if row not in cases("regressions")]
    prompts = Counter(" ".join(words(asked(row))) for row in first_asked)
    prompts.pop("", None)

    assert [prompt for prompt, count in prompts.items() if count > 1] == []


@pytest.mark.parametrize(
    ("name", "per_operation", "none"),
    [("domain", 4, 0), ("response", 3, 0), ("heldout", 5, 5), ("development", 20, 0)],
)
def test_case_set_asks_for_every_operation_equally_often(name, per_operation, none):
    counted = Counter(row["expect"]["operation"] for row in cases(name))

    assert counted == Counter({**dict.fromkeys(OPERATIONS, per_operation), "none": none})


@pytest.mark.parametrize("name", ["domain", "response", "heldout"])
def test_case_set_says_which_arguments_it_expects(name):
    assert [row["id"] for row in cases(name) if "arguments" not in row["expect"]] == []


def test_no_general_prompt_already_contains_its_answer():
    given_away = [
        row["id"]
        for row in cases("general")
        for answer in row["expect"]["contains_any"]
        if answer.casefold() in row["prompt"].casefold()
    ]

    assert given_away == []


# ---------------------------------------------------------------- the output contract


def test_contract_is_a_valid_schema_that_needs_no_network():
    schema = json.loads((TASK / "contract.schema.json").read_text(encoding="utf-8"))

    Draft202012Validator.check_schema(schema)
    assert not schema["$id"].startswith("http")


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("create", {}),
        ("create", {"title": ""}),
        ("create", {"title": "a", "priority": "urgent"}),
        ("create", {"title": "a", "status": "open"}),
        ("create", {"title": "a", "due": None}),
        ("list", {"task": "4"}),
        ("list", {"status": "closed"}),
        ("update", {"task": "4"}),
        ("update", {"due": "Monday"}),
        ("update", {"task": "4", "status": "done"}),
        ("complete", {}),
        ("complete", {"task": 4}),
        ("delete", {"task": "4", "due": "Monday"}),
        ("none", {"task": "4"}),
        ("remove", {"task": "4"}),
    ],
)
def test_contract_refuses_arguments_that_the_operation_does_not_have(operation, arguments):
    assert errors_of({"operation": operation, "arguments": arguments, "reply": "Done."})


@pytest.mark.parametrize(
    "answer",
    [
        [],
        {},
        {"operation": "none", "arguments": {}},
        {"operation": "none", "reply": "Hello."},
        {"arguments": {}, "reply": "Hello."},
        {"operation": "none", "arguments": {}, "reply": ""},
        {"operation": "none", "arguments": [], "reply": "Hello."},
        {"operation": "none", "arguments": {}, "reply": "Hello.", "confidence": 1},
    ],
)
def test_contract_refuses_an_answer_with_fields_missing_or_to_spare(answer):
    assert errors_of(answer)


@pytest.mark.parametrize(
    "row", [row for row in all_cases() if "arguments" in row["expect"]], ids=lambda row: row["id"]
)
def test_expected_arguments_meet_the_contract(row):
    assert errors_of({**row["expect"], "reply": "Done."}) == []


@pytest.mark.parametrize(
    "row", [row for row in all_cases() if "operation" in row["expect"]], ids=lambda row: row["id"]
)
def test_expected_operation_is_one_of_the_six(row):
    assert row["expect"]["operation"] in [*OPERATIONS, "none"]


@pytest.mark.parametrize(
    "row", [row for row in all_cases() if "arguments" in row["expect"]], ids=lambda row: row["id"]
)
def test_expected_names_and_dates_are_copied_from_the_prompt(row):
    copied = [
        value for name, value in row["expect"]["arguments"].items() if name not in ("priority", "status")
    ]

    assert [value for value in copied if value not in asked(row)] == []


# ---------------------------------------------------------------- reference answers


def statement(operation: str, arguments: dict) -> str:
    """How the reply to a reference answer begins: the house style, before the follow-up."""
    if operation == "create":
        due = f", due {arguments['due']}" if "due" in arguments else ""
        priority = f", {arguments['priority']} priority" if "priority" in arguments else ""
        return f"I created the task {arguments['title']}{due}{priority}. "
    if operation == "list":
        priority = f"{arguments['priority']} priority " if "priority" in arguments else ""
        status = f"{arguments['status']} " if "status" in arguments else ""
        due = f" due {arguments['due']}" if "due" in arguments else ""
        return f"Here are your {priority}{status}tasks{due}. "
    if operation == "update":
        (field, value), *others = [pair for pair in arguments.items() if pair[0] != "task"]
        assert not others, "a reference answer updates one field"
        name = "due date" if field == "due" else field
        return f"I updated task {arguments['task']}: {name} is now {value}. "
    if operation == "complete":
        return f"I marked task {arguments['task']} as complete. "
    if operation == "delete":
        return f"I deleted task {arguments['task']}. "
    return "I can create, list, update, complete or delete tasks. "


def test_every_heldout_case_has_a_reference_answer():
    assert [row["id"] for row in cases("heldout") if "reference" not in row] == []


NOTHING_DONE = {
    "I can create, list, update, complete or delete tasks. What would you like to do?",
    "I can only help with your tasks. What would you like to do?",
}
FOLLOW_UPS = {
    "list": "Would you like to change one?",
    "update": "Anything else to change?",
    "complete": "What is next?",
    "delete": "Anything else to delete?",
}


def follow_up(operation: str, arguments: dict[str, str]) -> str:
    """The question that house style puts after what was done."""
    if operation != "create":
        return FOLLOW_UPS[operation]
    if "due" not in arguments:
        return "Should I add a due date?"
    return "Anything else to add?" if "priority" in arguments else "Should I set a priority?"


@pytest.mark.parametrize("row", [row for row in all_cases() if "reference" in row], ids=lambda row: row["id"])
def test_reference_is_the_compact_answer_that_the_case_expects_in_house_style(row):
    answer = json.loads(row["reference"])

    assert row["reference"] == json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
    assert errors_of(answer) == []
    assert list(answer) == ["operation", "arguments", "reply"]
    assert {name: answer[name] for name in row["expect"]} == row["expect"]
    assert list(answer["arguments"]) == list(row["expect"]["arguments"])
    if answer["operation"] == "none":
        assert answer["reply"] in NOTHING_DONE
    else:
        begin = statement(answer["operation"], answer["arguments"])
        assert answer["reply"] == begin + follow_up(answer["operation"], answer["arguments"])


# ---------------------------------------------------------------- the prompt of the untuned base


def base_prompt_examples() -> list[tuple[str, str]]:
    text = (TASK / "prompts" / "prompted_base.txt").read_text(encoding="utf-8")
    return re.findall(r"^User: (.+)\n(\{.+\})$", text, flags=re.MULTILINE)


def test_base_prompt_is_short_enough_for_a_small_model():
    text = (TASK / "prompts" / "prompted_base.txt").read_text(encoding="utf-8")

    assert len(text.split()) <= 350


def test_base_prompt_shows_one_valid_example_of_each_operation():
    answers = [json.loads(answer) for _, answer in base_prompt_examples()]

    assert [answer["operation"] for answer in answers] == [*OPERATIONS, "none"]
    assert [error for answer in answers for error in errors_of(answer)] == []


def test_base_prompt_gives_no_case_away():
    assert leaks(all_cases(), [prompt for prompt, _ in base_prompt_examples()]) == []


# ---------------------------------------------------------------- never trained on


def test_no_case_occurs_in_the_training_data():
    found = leaks(all_cases(), training_prompts(TRAINING_FILE))

    assert found == [], "change or drop these training rows, not the cases:\n" + "\n".join(
        f"  {case_id} ~ {prompt!r} (ROUGE-L F1 {score:.2f})" for case_id, prompt, score in found
    )


def test_near_duplicate_detector_fires_on_planted_copies_and_on_nothing_else(tmp_path):
    golden = [
        {"id": "long", "prompt": "Please add a task to renew my passport by 14 March."},
        {"id": "short", "prompt": "Reopen 19"},
        {"id": "umlaut", "prompt": "Bitte lösche die Aufgabe 5."},
        {"id": "empty", "prompt": " "},
    ]
    planted = [
        "please ADD a task, to renew my passport by 14 March",
        "Please add a task to renew my passport by 14 April.",
        "reopen 19!",
        "bitte lösche die aufgabe 5",
    ]
    innocent = [
        "Please add a task to feed the neighbour's cat by 14 March.",
        "reopen 91",
        "lösche",
        "",
    ]
    path = tmp_path / "train.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for prompt in planted + innocent:
            turns = [{"from": "human", "value": prompt}, {"from": "gpt", "value": "{}"}]
            file.write(json.dumps({"conversations": turns}) + "\n")

    found = leaks(golden, training_prompts(path))

    assert [(case_id, prompt) for case_id, prompt, _ in found] == [
        ("long", planted[0]),
        ("long", planted[1]),
        ("short", planted[2]),
        ("umlaut", planted[3]),
    ]


def test_training_file_in_another_layout_is_an_error_and_not_an_empty_comparison(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text('{"conversations": [{"from": "gpt", "value": "{}"}]}\n', encoding="utf-8")
    with pytest.raises(ValueError, match="no turn from 'human'"):
        training_prompts(path)

    path.write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match="no rows"):
        training_prompts(path)
