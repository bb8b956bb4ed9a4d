"""A model against another one: the rules ``superior``, ``non_inferior`` and ``within``, and what a step may lose."""

import shutil

import pytest

from seatrial.evals.criteria import check_criteria, judge
from seatrial.evals.ratings import answer_digest
from seatrial.evals.task import load_task
from seatrial.evals.verdict import FAIL, INCONCLUSIVE, PASS
from seatrial.training.errors import SeatrialError
from tests.conftest import REPOSITORY
from tests.criteria.fakes import MINIATURE, OFF, ON, Fake, Scoring, cases_of, compared, requiring, right

TASK_API = REPOSITORY / "golden" / "task_api"


# --- rules superior and non_inferior --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shipped", "base", "status"),
    [
        (10, 4, PASS),  # six discordant pairs, all won: p = 0.031
        (10, 5, INCONCLUSIVE),  # five: p = 0.063
        (10, 9, INCONCLUSIVE),
        (10, 10, FAIL),
        (5, 10, FAIL),
    ],
)
def test_a_superior_share_needs_a_significant_mcnemar_test(evidence_of, shipped, base, status):
    verdict = judge(compared("superior"), evidence_of(right("shipped", shipped, 10), right("base", base, 10)))
    assert verdict.status == status
    assert verdict.measured.model == "shipped"
    assert verdict.against.model == "base"
    assert verdict.against.value == base / 10
    assert verdict.comparison["difference"] == pytest.approx((shipped - base) / 10)


def test_the_level_of_significance_is_the_criterion_s_own(evidence_of):
    evidence = evidence_of(right("shipped", 10, 10), right("base", 5, 10))
    statuses = [judge(compared("superior", confidence=level), evidence).status for level in (0.90, 0.95)]
    assert statuses == [PASS, INCONCLUSIVE]


@pytest.mark.parametrize(
    ("factors", "status"),
    [
        ([0.5] * 12, PASS),
        ([1.0] * 12, FAIL),
        ([2.0] * 12, FAIL),
        ([0.5, 1.9] * 6, INCONCLUSIVE),
    ],
)
def test_a_superior_perplexity_is_lower_in_the_whole_interval(evidence_of, factors, status):
    base = [3.0, 30.0, 5.0, 50.0, 4.0, 40.0, 6.0, 60.0, 7.0, 70.0, 8.0, 80.0]
    shipped = [value * factor for value, factor in zip(base, factors, strict=True)]
    verdict = judge(
        compared("superior", "perplexity"), evidence_of(Scoring("shipped", shipped), Scoring("base", base))
    )
    assert verdict.status == status
    assert verdict.comparison["p_value"] is None


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ([5, 5, 4, 5, 5, 4] * 2, PASS),
        ([5, 5, 4, 5, 5, 4], INCONCLUSIVE),  # six win, but nothing is known about a seventh
        ([1, 5, 3, 1, 5, 4] * 2, INCONCLUSIVE),
        ([3] * 12, FAIL),
        ([2] * 12, FAIL),
    ],
)
def test_superior_ratings_lie_above_the_base_s_in_the_whole_interval(evidence_of, given, status):
    n = len(given)
    cases = cases_of(n)
    ratings = {answer_digest(case.id, ON): [float(r)] for case, r in zip(cases, given, strict=True)}
    ratings |= {answer_digest(case.id, OFF): [3.0] for case in cases}
    evidence = evidence_of(
        right("shipped", n, n), right("base", 0, n), cases={"domain": cases}, ratings=ratings
    )
    assert judge(compared("superior", "response_rating"), evidence).status == status


@pytest.mark.parametrize(
    ("shipped", "margin", "status"),
    [
        (20, 0.0, INCONCLUSIVE),  # twenty ties do not make the models equal: 16 points either way
        (20, 0.1, INCONCLUSIVE),
        (20, 0.17, PASS),
        (19, 0.3, PASS),  # 5 points worse, surely not more than 24
        (19, 0.2, INCONCLUSIVE),
        (19, 0.0, FAIL),
        (16, 0.1, FAIL),
    ],
)
def test_a_share_is_not_inferior_if_it_is_surely_within_the_margin(evidence_of, shipped, margin, status):
    evidence = evidence_of(right("shipped", shipped, 20), right("base", 20, 20))
    assert judge(compared("non_inferior", margin=margin), evidence).status == status


@pytest.mark.parametrize(
    ("shipped", "margin", "status"),
    [
        ([1.9, 2.1] * 6, 0.0, PASS),
        ([4.4, 4.6] * 6, 1.0, PASS),
        ([4.5] * 12, 0.4, FAIL),
        ([3.0, 6.0] * 6, 1.0, INCONCLUSIVE),
        ([4.0] * 12, 0.0, INCONCLUSIVE),  # rows that all agree do not tell how others would differ
        ([2.0] * 12, 0.0, INCONCLUSIVE),
    ],
)
def test_a_perplexity_is_not_inferior_if_it_is_surely_within_the_margin(evidence_of, shipped, margin, status):
    evidence = evidence_of(Scoring("shipped", shipped), Scoring("base", [4.0] * 12))
    assert judge(compared("non_inferior", "perplexity", margin=margin), evidence).status == status


def test_comparing_pairs_the_answers_to_the_same_case(evidence_of):
    # Both have five of ten right, but never the same: ten discordant pairs and no difference.
    shipped, base = Fake("shipped", [ON] * 5 + [OFF] * 5), Fake("base", [OFF] * 5 + [ON] * 5)
    verdict = judge(compared("non_inferior", margin=0.1), evidence_of(shipped, base))
    assert verdict.comparison["difference"] == 0
    assert verdict.comparison["low"] < -0.3
    assert verdict.status == INCONCLUSIVE


def test_two_counts_are_compared_by_the_difference_that_they_have(evidence_of):
    """What is measured once needs no interval under any rule, because nothing was sampled."""
    heavy, light = Scoring("shipped", [1.0]), Scoring("base", [2.0])
    heavy.memory, light.memory = 2 * 10**9, 10**9
    evidence = evidence_of(heavy, light)

    def status(rule, **more):
        return judge(compared(rule, "peak_memory", **more), evidence).status

    assert status("superior") == FAIL
    assert [status("non_inferior", margin=margin) for margin in (0.9, 1.0)] == [FAIL, PASS]
    assert [status("within", margin=margin) for margin in (0.9, 1.0)] == [FAIL, PASS]
    light.name, heavy.name = "shipped", "base"
    assert judge(compared("superior", "peak_memory"), evidence_of(light, heavy)).status == PASS


# --- rule within and loss attribution -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hits", "margin", "status"),
    [(20, 0.0, PASS), (19, 0.05, PASS), (19, 0.04, FAIL), (18, 0.05, FAIL), (18, 0.1, PASS)],
)
def test_a_stage_may_cost_as_much_as_its_margin(evidence_of, hits, margin, status):
    evidence = evidence_of(right("merged", hits, 20), right("adapter", 20, 20))
    criterion = requiring(rule="within", model="merged", against="adapter", margin=margin, stage="merge")
    verdict = judge(criterion, evidence)
    assert verdict.status == status
    assert verdict.threshold == -margin
    assert verdict.stages == (["merge"] if status == FAIL else [])
    assert ("merge once" in verdict.advice) == (status == FAIL)


def test_a_perplexity_may_rise_as_much_as_its_margin(evidence_of):
    cases = {"domain": cases_of(5)}
    evidence = evidence_of(Scoring("merged", [1.2] * 5), Scoring("adapter", [1.1] * 5), cases=cases)

    def status(margin):
        criterion = requiring(
            "perplexity", rule="within", model="merged", against="adapter", margin=margin, stage="merge"
        )
        return judge(criterion, evidence).status

    assert (status(0.11), status(0.09)) == (PASS, FAIL)


def test_a_loss_is_a_criterion_for_every_step_that_its_metric_can_be_measured_at():
    task = load_task(TASK_API)
    ids = [criterion.id for criterion in task.criteria if criterion.id.startswith("LOSS.operations.")]
    steps = ["training", "merge", "conversion", "quantisation", "q8_0", "q5_k_m", "ollama"]
    assert ids == [f"LOSS.operations.{step}" for step in steps]
    assert "LOSS.perplexity.ollama" not in {criterion.id for criterion in task.criteria}
    required = {c.id.rpartition(".")[2] for c in task.criteria if c.id in ids and c.required}
    assert required == {"training", "merge", "conversion", "quantisation"}
    assert all(c.why and c.rule == "within" for c in task.criteria if c.id in ids)


def test_a_mistake_in_a_loss_is_told_with_its_line(tmp_path):
    folder = shutil.copytree(MINIATURE, tmp_path / "lamp")
    path = folder / "task.toml"
    loss = '[[losses]]\nid = "L"\ntitle = "t"\nmetric = "speed"\ncases = "domain"\nmargin = 0.1\nwhy = "w"\n'
    path.write_text(path.read_text(encoding="utf-8") + loss, encoding="utf-8")
    line = path.read_text(encoding="utf-8").splitlines().index('metric = "speed"') + 1
    with pytest.raises(
        SeatrialError, match=f"task.toml:{line}: criterion 'L.training' names the metric 'speed'"
    ):
        check_criteria(load_task(folder))


def test_two_losses_may_not_share_an_id(tmp_path):
    folder = shutil.copytree(MINIATURE, tmp_path / "lamp")
    path = folder / "task.toml"
    loss = '[[losses]]\nid = "L"\ntitle = "t"\nmetric = "json_parse"\ncases = "domain"\nmargin = 0.1\nwhy = "w"\n'
    path.write_text(path.read_text(encoding="utf-8") + loss + loss, encoding="utf-8")
    with pytest.raises(SeatrialError, match="criterion id 'L.training' is used twice"):
        load_task(folder)
