"""Every mistake in a task or a recipe is told with its file and line, the key, the value and what is allowed.

python -m pytest tests/test_configuration.py
"""

import re
import shutil
from pathlib import Path

import pytest

from seatrial.evals.criteria import MODELS, check_criteria
from seatrial.evals.criterion import RULES
from seatrial.evals.metrics import METRICS
from seatrial.evals.task import load_task
from seatrial.training.errors import SeatrialError
from seatrial.training.recipe import QUANTIZATIONS, RECIPES, load_recipe

REPOSITORY = Path(__file__).resolve().parents[1]
MINIATURE = REPOSITORY / "tests" / "miniature"
TASK, RECIPE = "task.toml", "recipes/tiny-llama.toml"
SC1 = 'metric = "accuracy"\ncases = "domain"\nat_least = 0.9\n'
SC3 = 'rule = "superior"\nagainst = "base"\n'


@pytest.fixture
def folder(tmp_path):
    """A copy of the miniature that a test may spoil."""
    return shutil.copytree(MINIATURE, tmp_path / "lamp")


def spoil(folder, name, old, new):
    """Replace the first ``old`` in a file by ``new``."""
    path = folder / name
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{name} no longer holds {old!r}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def line_with(path, words):
    lines = path.read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, start=1) if words in line)


def load(folder, name):
    if name == TASK:
        check_criteria(load_task(folder))
    else:
        load_recipe("tiny-llama", folder)


def complaint(folder, name):
    with pytest.raises(SeatrialError) as caught:
        load(folder, name)
    return str(caught.value)


# A row: the file, what is replaced by what, words on the line to be named, and what the message says.
MISTAKES = {
    "toml-without-quotes": (
        TASK,
        'name = "lamp"',
        "name = lamp",
        "name = lamp",
        ["not valid TOML", "strings need quotes"],
    ),
    "toml-table-not-closed": (RECIPE, "[lora]", "[lora", "[lora", ["not valid TOML", "tables [brackets]"]),
    "toml-key-twice": (RECIPE, "r = 4\n", "r = 4\nr = 4\n", "r = 4\nr", ["not valid TOML"]),
    "missing-in-table": (
        TASK,
        'why = "A wrong switch is worse than none."\n',
        "",
        "[[criteria]]",
        ["'criteria[0].why' is missing", "add the key"],
    ),
    "missing-in-case-set": (
        TASK,
        'file = "cases/domain.jsonl"\n',
        "",
        "[case_sets.domain]",
        ["'case_sets.domain.file' is missing"],
    ),
    "missing-why-of-criterion": (
        TASK,
        'why = "A wrong switch is worse than none."\n',
        "",
        "[[criteria]]",
        ["'criteria[0].why' is missing"],
    ),
    "missing-in-recipe": (
        RECIPE,
        "learning_rate = 1e-2\n",
        "",
        "[trainer]",
        ["'trainer.learning_rate' is missing"],
    ),
    "missing-table": (
        RECIPE,
        "r = 4\nalpha = 8\ndropout = 0.0\n",
        "",
        "[lora]",
        ["'lora.r' is missing", "'lora.alpha' is missing"],
    ),
    "unknown-in-table": (
        TASK,
        "max_tokens = 32",
        "max_tokens = 32\nmax_token = 32",
        "max_token =",
        [
            "unknown key 'decoding.max_token'",
            "did you mean 'max_tokens'?",
            "context, max_tokens, temperature",
        ],
    ),
    "unknown-with-alias": (
        TASK,
        "[answer]",
        '[answer]\nshema = "x"',
        "shema",
        ["did you mean 'schema'?", "fields, label, labels, otherwise, schema"],
    ),
    "unknown-in-case-set": (
        TASK,
        "[case_sets.domain]",
        "[case_sets.domain]\ncontact = true",
        "contact",
        ["unknown key 'case_sets.domain.contact'", "did you mean 'contract'?", "contract, file, why"],
    ),
    "unknown-in-criterion": (
        TASK,
        "at_least = 0.9\n",
        "at_leest = 0.9\n",
        "at_leest",
        ["unknown key 'criteria[0].at_leest'", "did you mean 'at_least'?", "confidence"],
    ),
    "unknown-at-the-top": (
        TASK,
        'title = "Lamp switch"',
        'title = "Lamp switch"\nintend = "x"',
        "intend",
        ["unknown key 'intend'", "did you mean 'intent'?", "case_sets"],
    ),
    "unknown-and-like-nothing": (
        RECIPE,
        "r = 4",
        "r = 4\nxyzzy = 1",
        "xyzzy",
        [
            "unknown key 'lora.xyzzy'",
            "allowed here: alpha, dora, dropout, modules_to_save, r, rslora, target_modules",
        ],
    ),
    "wrong-type-number": (
        TASK,
        "max_tokens = 32",
        'max_tokens = "many"',
        "max_tokens",
        ["'decoding.max_tokens' = 'many'", "integer"],
    ),
    "wrong-type-text": (TASK, 'title = "Lamp switch"', "title = 7", "title = 7", ["'title' = 7", "string"]),
    "wrong-type-truth": (
        TASK,
        'cases = "domain"',
        'cases = "domain"\nrequired = "maybe"',
        "required",
        ["'criteria[0].required' = 'maybe'", "boolean"],
    ),
    "number-in-quotes": (
        TASK,
        "at_least = 0.9\n",
        'at_least = "0.9"\n',
        "at_least",
        ["'criteria[0].at_least' = '0.9'", "valid number"],
    ),
    "truth-for-a-number": (
        TASK,
        "at_least = 0.9\n",
        "at_least = true\n",
        "at_least",
        ["'criteria[0].at_least' = True", "valid number"],
    ),
    "no-number": (
        TASK,
        "at_least = 0.9\n",
        "at_least = nan\n",
        "at_least",
        ["'criteria[0].at_least' = nan", "finite number"],
    ),
    "no-number-in-settings": (
        TASK,
        "at_least = 0.9\n",
        "at_least = 0.9\nsettings = {percentile = inf}\n",
        "settings",
        ["'criteria[0].settings.percentile' = inf", "finite number"],
    ),
    "date-without-quotes": (
        TASK,
        'title = "Lamp switch"',
        "title = 2026-11-21",
        "title = 2026",
        ["'title' = 2026-11-21", "in quotes"],
    ),
    "no-for-false": (
        TASK,
        'cases = "domain"',
        'cases = "domain"\nrequired = "no"',
        "required",
        ["'criteria[0].required' = 'no'", "boolean"],
    ),
    "fraction-for-a-count": (
        RECIPE,
        "batch_size = 4",
        "batch_size = 4.0",
        "batch_size",
        ["'trainer.batch_size' = 4.0", "valid integer"],
    ),
    "wrong-type-list": (TASK, 'cases = "domain"', "cases = 7", "cases = 7", ["'criteria[0].cases' = 7"]),
    "wrong-type-modules": (
        RECIPE,
        'target_modules = "all-linear"',
        "target_modules = 3",
        "target_modules",
        ["'lora.target_modules", "= 3", "all-linear"],
    ),
    "not-positive": (
        RECIPE,
        "batch_size = 4",
        "batch_size = 0",
        "batch_size",
        ["'trainer.batch_size' = 0", "greater than 0"],
    ),
    "out-of-range": (
        TASK,
        "at_least = 0.9\n",
        "at_least = 0.9\nconfidence = 95\n",
        "confidence",
        ["'criteria[0].confidence' = 95", "less than 1"],
    ),
    "surer-of-a-coin": (
        TASK,
        "at_least = 0.9\n",
        "at_least = 0.9\nconfidence = 0.01\n",
        "confidence",
        ["'criteria[0].confidence' = 0.01", "greater than or equal to 0.5"],
    ),
    "bad-name": (TASK, 'name = "lamp"', 'name = "The Lamp"', "The Lamp", ["'name' = 'The Lamp'", "pattern"]),
    "bad-temperature": (
        TASK,
        "temperature = 0",
        "temperature = 0.7",
        "temperature",
        ["'decoding.temperature' = 0.7", "should be 0"],
    ),
    "bad-rule": (
        TASK,
        'rule = "superior"',
        'rule = "best"',
        'rule = "best"',
        ["'criteria[2].rule' = 'best'", *RULES],
    ),
    "bad-backend": (
        RECIPE,
        'backend = "trl"',
        'backend = "tril"',
        "backend",
        ["'backend' = 'tril'", "'trl'"],
    ),
    "bad-quantization": (
        RECIPE,
        '["f16", "q8_0"]',
        '["f16", "q8"]',
        "quantizations",
        ["'export.quantizations[1]' = 'q8'", *QUANTIZATIONS],
    ),
    "quantization-twice": (
        RECIPE,
        '["f16", "q8_0"]',
        '["q8_0", "q8_0"]',
        "quantizations",
        ["['q8_0', 'q8_0']", "each once"],
    ),
    "ship-not-built": (
        RECIPE,
        'ship = "q8_0"',
        'ship = "q4_k_m"',
        "[export]",
        ["ship = 'q4_k_m' is not among quantizations = ['f16', 'q8_0']"],
    ),
    "package-not-named": (
        RECIPE,
        'source = "folder"',
        'source = "package"',
        "[base]",
        ["'package' is needed for source = \"package\""],
    ),
    "hub-without-revision": (
        RECIPE,
        'source = "folder"\npath = "tiny-llama"',
        'source = "hub"\nrepository = "a/b"',
        "[base]",
        ["'revision' is needed for source = \"hub\", and only there"],
    ),
    "path-of-the-hub": (
        RECIPE,
        'source = "folder"',
        'source = "hub"\nrepository = "a/b"\nrevision = "main"',
        "[base]",
        ['\'path\' is needed for source = "package" or "gguf" or "folder", and only there'],
    ),
    "repository-by-address": (
        RECIPE,
        'source = "folder"\npath = "tiny-llama"',
        'source = "hub"\nrevision = "main"\nrepository = "https://huggingface.co/a/b"',
        'repository = "https:',
        ["'base.repository'", "should be ORGANISATION/NAME"],
    ),
    "revision-that-leaves-its-folder": (
        RECIPE,
        'source = "folder"\npath = "tiny-llama"',
        'source = "hub"\nrepository = "a/b"\nrevision = "../../main"',
        "revision =",
        ["'base.revision'", 'such as "main"'],
    ),
    "no-bound": (
        TASK,
        "at_least = 0.9\n",
        "",
        "[[criteria]]",
        ["'criteria[0]'", "rule 'point' needs exactly one of at_least and at_most"],
    ),
    "both-bounds": (
        TASK,
        "at_least = 0.9\n",
        "at_least = 0.9\nat_most = 1.0\n",
        "[[criteria]]",
        ["'criteria[0]'", "exactly one of at_least and at_most"],
    ),
    "point-with-against": (
        TASK,
        "at_least = 0.9\n",
        'at_least = 0.9\nagainst = "base"\n',
        "[[criteria]]",
        ["'against' belongs to the rules superior, non_inferior and within"],
    ),
    "empty-id": (
        TASK,
        'id = "LAMP"',
        'id = " "',
        'id = " "',
        ["'criteria[8].id' = ' '", "must not be empty"],
    ),
    "empty-why": (
        TASK,
        'why = "Loops are noise."',
        'why = ""',
        'why = ""',
        ["'criteria[7].why' = ''", "must not be empty"],
    ),
    "unknown-case-set": (
        TASK,
        SC1,
        SC1.replace("domain", "domian"),
        'cases = "domian"',
        ["'SC-1'", "'domian'", "domain, heldout, regressions"],
    ),
    "criterion-id-twice": (
        TASK,
        'id = "SC-3.perplexity"',
        'id = "SC-2"',
        "Perplexity below",
        ["'SC-2' is used twice"],
    ),
    "unknown-metric": (
        TASK,
        SC1,
        SC1.replace("accuracy", "acuracy"),
        "acuracy",
        ["'SC-1'", "'acuracy'", *METRICS],
    ),
    "unknown-model": (
        TASK,
        SC1,
        SC1 + 'model = "tuned"\n',
        'model = "tuned"',
        ["'SC-1'", "'tuned'", *MODELS],
    ),
    "unknown-rival": (
        TASK,
        SC3,
        SC3.replace("base", "bass"),
        'against = "bass"',
        ["'SC-3.operations'", "'bass'", *MODELS],
    ),
    "no-cases-for-answers": (
        TASK,
        SC1,
        SC1.replace('cases = "domain"\n', ""),
        "accuracy",
        ["'SC-1' needs 'cases'", "domain, heldout, regressions"],
    ),
    "no-cases-for-latency": (
        TASK,
        SC1,
        'metric = "answer_seconds"\nat_most = 1\n',
        "answer_seconds",
        ["'SC-1' needs 'cases'", "domain, heldout, regressions"],
    ),
}

# Of these the whole criterion is at fault: any line of its table leads the reader there.
ANYWHERE_IN_TABLE = {
    "criterion-id-twice",
    "unknown-metric",
    "unknown-model",
    "unknown-rival",
    "unknown-case-set",
} | {
    "no-cases-for-answers",
    "no-cases-for-latency",
}


@pytest.mark.parametrize("name", [name for name in MISTAKES if name not in ANYWHERE_IN_TABLE])
def test_a_mistake_is_told_with_its_line_key_and_value_and_what_is_allowed(folder, name):
    file, old, new, words, told = MISTAKES[name]
    path = spoil(folder, file, old, new)
    line = line_with(path, words.split("\n")[0]) + words.count("\n")
    message = complaint(folder, file)
    assert message.startswith(f"{path}:{line}: ")
    for part in told:
        assert part in message


@pytest.mark.parametrize("name", sorted(ANYWHERE_IN_TABLE))
def test_a_mistake_that_needs_the_whole_file_to_be_seen_is_told_in_words(folder, name):
    file, old, new, _, told = MISTAKES[name]
    path = spoil(folder, file, old, new)
    message = complaint(folder, file)
    assert message.startswith(str(path))
    for part in told:
        assert part in message
    assert "Lamp switch" not in message, "the file is not printed as a whole"


@pytest.mark.parametrize("name", sorted(ANYWHERE_IN_TABLE))
def test_a_mistake_that_needs_the_whole_file_to_be_seen_names_a_line_of_its_table(folder, name):
    file, old, new, words, _ = MISTAKES[name]
    path = spoil(folder, file, old, new)
    found = re.match(rf"{re.escape(str(path))}:(\d+): ", complaint(folder, file))
    assert found, "a line is named"
    lines = path.read_text(encoding="utf-8").splitlines()
    fault = line_with(path, words)
    first = max(n for n, line in enumerate(lines[:fault], start=1) if line.startswith("[[criteria]]"))
    assert first <= int(found[1]) <= fault


def test_superior_needs_a_rival(folder):
    path = spoil(folder, TASK, 'against = "base"\n', "")
    message = complaint(folder, TASK)
    line = line_with(path, 'id = "SC-3.operations"') - 1
    assert message.startswith(f"{path}:{line}: 'criteria[2]'")
    assert "rule 'superior' needs 'against' (a model) and no at_least or at_most" in message


@pytest.mark.parametrize("rule", ["superior", "non_inferior"])
def test_a_comparison_takes_no_bound(folder, rule):
    spoil(folder, TASK, SC3, f'rule = "{rule}"\nagainst = "base"\nat_least = 0.9\n')
    assert f"rule '{rule}' needs 'against' (a model) and no at_least or at_most" in complaint(folder, TASK)


def test_a_key_that_is_missing_at_the_top_is_not_sought_in_a_table_below(folder):
    path = spoil(folder, TASK, 'name = "lamp"\n', "")
    message = complaint(folder, TASK)
    assert re.match(rf"{re.escape(str(path))}(:1)?: 'name' is missing\n  add the key 'name'$", message)


def test_a_task_without_a_required_criterion_is_refused_because_anything_would_ship(folder):
    path = folder / TASK
    text = path.read_text(encoding="utf-8").replace("required = false\n", "")
    path.write_text(text.replace("[[criteria]]", "[[criteria]]\nrequired = false"), encoding="utf-8")
    message = complaint(folder, TASK)
    assert message.startswith(str(path))
    assert "no criterion is required, so anything would ship" in message
    assert "Lamp switch" not in message, "the file is not printed as a whole"


def test_all_mistakes_of_a_file_are_told_at_once(folder):
    spoil(folder, RECIPE, "alpha = 8", "alhpa = 8")
    path = spoil(folder, RECIPE, "validation_rows = 2", "validation_rows = -2")
    told = [line for line in complaint(folder, RECIPE).splitlines() if line.startswith(str(path))]
    assert [re.search(r"'([\w.]+)'", line)[1] for line in told] == [
        "lora.alpha",
        "lora.alhpa",
        "trainer.validation_rows",
    ]


def test_a_recipe_that_does_not_exist_is_told_with_those_that_do(folder):
    with pytest.raises(SeatrialError) as caught:
        load_recipe("tiny-lama", folder)
    assert str(caught.value).startswith("--recipe: there is no recipe 'tiny-lama'\n  known recipes: ")
    for known in ("tiny-llama", *(path.stem for path in RECIPES.glob("*.toml"))):
        assert known in str(caught.value)


def test_a_recipe_file_that_does_not_exist_is_told(folder):
    with pytest.raises(SeatrialError, match=re.escape(f"there is no recipe '{folder / 'none.toml'}'")):
        load_recipe(folder / "none.toml", folder)


@pytest.mark.parametrize("given", ["nowhere", "nowhere/task.toml", "recipes"])
def test_a_task_that_does_not_exist_is_told_with_what_to_type(folder, given):
    with pytest.raises(SeatrialError) as caught:
        load_task(folder / given)
    path = folder / given if given.endswith(".toml") else folder / given / "task.toml"
    assert str(caught.value).startswith(f"{path}: no task here")
    assert "--task=golden/task_api" in str(caught.value)


def test_a_file_that_is_no_text_is_told(folder):
    (folder / TASK).write_bytes(b"name = '\xff'")
    assert complaint(folder, TASK).startswith(f"{folder / TASK}: cannot be read: ")


@pytest.mark.parametrize(
    ("file", "read"),
    [
        ("contract.schema.json", lambda task: task.reader.schema),
        ("prompted_base.txt", lambda task: task.prompted_base),
    ],
)
def test_a_file_of_the_task_that_is_missing_is_told_when_it_is_read(folder, file, read):
    (folder / file).unlink()
    task = load_task(folder)
    with pytest.raises(SeatrialError, match=re.escape(f"{folder / file}: cannot be read: No such file")):
        read(task)


def test_a_contract_that_is_no_json_is_told(folder):
    (folder / "contract.schema.json").write_text("{", encoding="utf-8")
    task = load_task(folder)
    with pytest.raises(SeatrialError, match=re.escape(f"{folder / 'contract.schema.json'}: not valid JSON")):
        _ = task.reader.schema


# --- what is right is read as it was written -----------------------------------------------------------


def test_a_task_s_criteria_keep_their_numbers_groups_and_reasons(folder):
    task = load_task(folder)
    criteria = {criterion.id: criterion for criterion in task.criteria}
    assert list(criteria)[:3] == ["SC-1", "SC-2", "SC-3.operations"]
    assert criteria["SC-1"].at_least == 0.9
    assert criteria["SC-1"].cases == ("domain",)
    assert criteria["SC-1"].rule == "point"
    assert criteria["SC-1"].required
    assert criteria["SC-3.perplexity"].group == "SC-3"
    assert not criteria["SC-3.perplexity"].required
    assert criteria["SCHEMA.valid"].cases == ("domain", "heldout")
    assert criteria["SC-2"].settings["acknowledgements"]["on"] == ["lamp is on"]


@pytest.mark.parametrize("given", ["", "task.toml"], ids=["folder", "file"])
def test_a_task_is_found_by_its_folder_and_by_its_file_and_knows_where_it_lies(folder, given):
    task = load_task(folder / given)
    assert task.folder == folder
    assert task.path(task.train) == folder / "train.jsonl"


def test_a_task_s_own_recipe_comes_before_the_shipped_one_of_the_same_name(folder):
    shipped = sorted(RECIPES.glob("*.toml"))[0].stem
    shutil.copy(folder / RECIPE, folder / "recipes" / f"{shipped}.toml")
    assert load_recipe(shipped, folder).name == "tiny-llama"
    assert load_recipe(shipped).name == shipped
    assert load_recipe(folder / RECIPE).folder == folder / "recipes"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_loads_and_is_named_like_its_file(path):
    assert load_recipe(path.stem).name == path.stem


def test_the_shipped_task_loads_and_its_criteria_name_known_metrics_and_models():
    task = load_task(REPOSITORY / "golden" / "task_api")
    check_criteria(task)
    assert {criterion.group for criterion in task.criteria} >= {"SC-1", "SC-2", "SC-3", "SC-4"}
    assert load_recipe(task.recipe, task.folder).name == task.recipe
    assert task.reader.schema["required"] == ["operation", "arguments", "reply"]
    assert task.prompted_base
