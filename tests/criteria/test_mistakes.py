"""A criterion that cannot be meant is a mistake of task.toml, told with its line."""

import re
import shutil

import pytest

from seatrial.evals.criteria import check_criteria
from seatrial.evals.task import load_task
from seatrial.training.errors import SeatrialError
from tests.conftest import REPOSITORY
from tests.criteria.fakes import MINIATURE

TASK_API = REPOSITORY / "golden" / "task_api"


@pytest.mark.parametrize(
    ("metric", "line", "words"),
    [
        ("accuracy", "at_least = 90", "a share, from 0 to 1.*was 0.9 meant, which is 90 %?"),
        ("accuracy", "at_least = 99.5", "was 0.995 meant"),
        ("accuracy", "at_least = -0.1", "from 0 to 1.*inside this range"),
        ("accuracy", "at_least = 9000", "from 0 to 1.*inside this range"),
        ("metadata_parity", "at_least = 100", "was 1 meant"),
        ("top1_agreement", "at_least = 97", "was 0.97 meant"),
        ("rouge_l", "at_least = 45", "from 0 to 1.*was 0.45 meant"),
        ("response_rating", "at_least = 80", "from 1 to 5.*inside this range"),
        ("response_rating", "at_least = 0.8", "from 1 to 5.*inside this range"),
        ("kl_divergence", "at_most = -1.0", "never below 0"),
        (
            "accuracy",
            "at_most = 0.9",
            "of accuracy higher is better.*type at_least = 0.9",
        ),
        ("perplexity", "at_least = 5.0", "of perplexity lower is better.*type at_most = 5"),
        ("accuracy", 'rule = "confident"\nat_least = 1.0', 'can never pass.*"point"'),
        ("accuracy", 'rule = "within"\nagainst = "base"\nmargin = 5.0', "was 0.05 meant"),
        ("accuracy", 'rule = "non_inferior"\nagainst = "base"\nmargin = 1.0', "any model would pass"),
        ("accuracy", "at_least = 0.0", "any model would pass.*required = false"),
        ("response_rating", "at_least = 1", "any model would pass"),
        ("false_positive_rate", "at_most = 1.0", "any model would pass"),
        ("metadata_parity", "at_least = 0.0", "any model would pass"),
        ("accuracy", 'rule = "within"\nagainst = "shipped"', "compares shipped with itself"),
        ("acuracy", "at_least = 0.9", "did you mean 'accuracy'?"),
        ("accuracy", 'model = "shiped"\nat_least = 0.9', "did you mean 'shipped'?"),
        (
            "accuracy",
            'rule = "superior"\nagainst = "prompted-base"',
            "did you mean 'prompted_base'?",
        ),
        ("answer_seconds", "at_most = 9.0\nsettings = {percentil = 95}", "did you mean 'percentile'?"),
        ("answer_seconds", "at_most = 9.0\nsettings = {percentile = 0}", "between 0 and 100"),
        ("answer_seconds", 'at_most = 9.0\nsettings = {percentile = "95"}', "between 0 and 100"),
        (
            "accuracy",
            "at_least = 0.9\nsettings = {percentile = 95}",
            "accuracy does not know",
        ),
    ],
)
def test_a_criterion_that_cannot_be_meant_is_a_mistake_with_its_line(tmp_path, metric, line, words):
    folder = shutil.copytree(MINIATURE, tmp_path / "lamp")
    path = folder / "task.toml"
    added = (
        f'\n[[criteria]]\nid = "NEW"\ntitle = "t"\nmetric = "{metric}"\ncases = "domain"\nwhy = "w"\n{line}\n'
    )
    text = path.read_text(encoding="utf-8")
    path.write_text(text + added, encoding="utf-8")
    with pytest.raises(SeatrialError, match="(?s)criterion 'NEW'.*" + words) as found:
        check_criteria(load_task(folder))
    number = int(re.search(r"task\.toml:(\d+)", str(found.value))[1])
    assert number > text.count("\n") + 1


def test_a_case_set_that_is_named_twice_would_count_twice(tmp_path):
    folder = shutil.copytree(MINIATURE, tmp_path / "lamp")
    path = folder / "task.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('["domain", "heldout"]', '["domain", "domain"]', 1), encoding="utf-8")
    with pytest.raises(SeatrialError, match="names the case set 'domain' twice"):
        check_criteria(load_task(folder))


def test_the_tasks_of_this_repository_have_no_mistake():
    for folder in (MINIATURE, TASK_API):
        check_criteria(load_task(folder))


def test_a_loss_s_margin_in_percent_is_a_mistake_at_its_line(tmp_path):
    folder = shutil.copytree(MINIATURE, tmp_path / "lamp")
    path = folder / "task.toml"
    loss = (
        '[[losses]]\nid = "L"\ntitle = "t"\nmetric = "json_parse"\ncases = "domain"\nmargin = 5\nwhy = "w"\n'
    )
    path.write_text(path.read_text(encoding="utf-8") + loss, encoding="utf-8")
    line = path.read_text(encoding="utf-8").splitlines().index("margin = 5") + 1
    with pytest.raises(SeatrialError, match=f"(?s)task.toml:{line}: .*margin = 5.*was 0.05 meant"):
        check_criteria(load_task(folder))
