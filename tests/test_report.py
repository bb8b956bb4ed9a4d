"""The release report: what a reader sees, and that hostile answers stay text.

python -m pytest tests/test_report.py
"""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from seatrial.evals.metrics import METRICS
from seatrial.evals.report import SCHEMA, finite, plots, render, view, write_report
from seatrial.evals.report.attribution import is_step
from seatrial.evals.report.summary import summary
from seatrial.evals.report.wording import LONGEST, amount, clip, duration, interval, moment, size, visible
from seatrial.evals.task import Criterion, load_task
from seatrial.evals.verdict import PASS, Measured, Miss, Verdict, verdict_for
from tests.page import HOSTILE, Page
from tests.report_results import (
    CASES,
    check,
    failing,
    fidelity,
    inconclusive,
    miss,
    observation,
    operations,
    refused,
    results,
    shares,
    superior,
    unevaluated,
    verdict,
    verdicts,
)

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def ship() -> Page:
    return Page(render(results()))


def heading(html: str) -> str:
    """The decision in large letters with its class."""
    found = re.search(r'<h2 class="(is-\w+)">.*?</svg>\s*([A-Z ]+)</h2>', html, re.DOTALL)
    assert found, "the page has no decision"
    return f"{found[1]} {found[2].strip()}"


# --- what is written ------------------------------------------------------------------------------------
def test_writes_both_files_and_nothing_else(tmp_path: Path) -> None:
    write_report(results(), tmp_path / "new" / "folder")
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == {
        "report.html",
        "results.json",
    }
    written = json.loads((tmp_path / "new" / "folder" / "results.json").read_text())
    assert written == json.loads(json.dumps(results()))


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_report(results(), tmp_path / name)
    for file in ("report.html", "results.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_the_report_can_be_written_again_from_its_own_results(tmp_path: Path) -> None:
    write_report(results(), tmp_path / "one")
    write_report(json.loads((tmp_path / "one" / "results.json").read_text()), tmp_path / "two")
    assert (tmp_path / "one" / "report.html").read_text() == (tmp_path / "two" / "report.html").read_text()


def test_results_survive_a_page_that_cannot_be_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seatrial.evals.report.render", lambda results: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(results(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_a_failed_write_leaves_the_old_report_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_report(results(), tmp_path)
    before = (tmp_path / "report.html").read_bytes()
    monkeypatch.setattr("seatrial.evals.report.render", lambda results: "half a page \ud800")
    with pytest.raises(UnicodeEncodeError):
        write_report(results(), tmp_path)
    assert (tmp_path / "report.html").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2


def test_a_kill_before_the_last_step_leaves_the_old_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(results(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def killed(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_report(refused(1, failing()), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_numbers_that_json_lacks_become_null(tmp_path: Path) -> None:
    diverged = [{"step": 5, "loss": float("nan")}, {"step": 10, "loss": float("inf")}]
    write_report(results(adapter_history=diverged), tmp_path)
    written = json.loads((tmp_path / "results.json").read_text(), parse_constant=pytest.fail)
    assert [entry["loss"] for entry in written["adapter_history"]] == [None, None]
    assert finite((1.5, {"a": float("-inf")})) == [1.5, {"a": None}]


# --- the schema -----------------------------------------------------------------------------------------
def schema() -> dict:
    return json.loads(SCHEMA.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "run",
    [
        results(),
        refused(10, unevaluated()),
        refused(11, inconclusive()),
        refused(1, *fidelity(check()), *operations(merged=CASES[:3])),
        results(shipped=None, recipe=None, modelfile=None, adapter_history=[], timings=[], artifacts=[]),
    ],
    ids=["ship", "incomplete", "inconclusive", "stages", "bare"],
)
def test_results_fulfil_the_schema(run: dict) -> None:
    Draft202012Validator.check_schema(schema())
    errors = Draft202012Validator(schema()).iter_errors(json.loads(json.dumps(run)))
    assert [f"{error.json_path}: {error.message}" for error in errors] == []


@pytest.mark.parametrize(
    "change",
    [
        {"gate": {"decision": "PERHAPS", "exit_status": 0, "reasons": []}},
        {"schema_version": 2},
        {"verdicts": [verdicts()[0] | {"status": "GREEN"}]},
        {"verdicts": [{key: value for key, value in verdicts()[0].items() if key != "required"}]},
        {"shipped": {"name": "a.gguf", "sha256": "beef", "bytes": 1, "runtime": "llama.cpp"}},
        {"verdicts": [verdicts()[0] | {"stages": "merge"}]},
        {"verdicts": [{key: value for key, value in verdicts()[0].items() if key != "threshold"}]},
        {"verdicts": [verdicts()[2] | {"comparison": {"difference": 0.1, "low": 0.0, "high": 0.2}}]},
    ],
    ids=["decision", "version", "status", "required", "digest", "stages", "threshold", "comparison"],
)
def test_the_schema_rejects_what_is_wrong(change: dict) -> None:
    assert not Draft202012Validator(schema()).is_valid(json.loads(json.dumps(results(**change))))


@pytest.mark.parametrize(("name", "kind"), [("verdict", Verdict), ("measured", Measured), ("miss", Miss)])
def test_the_schema_has_the_fields_of_the_code(name: str, kind: type) -> None:
    assert set(schema()["$defs"][name]["properties"]) == {field.name for field in dataclasses.fields(kind)}


def test_every_field_is_described() -> None:
    def undescribed(node: object, path: str) -> list[str]:
        if isinstance(node, list):
            return [found for item in node for found in undescribed(item, path)]
        if not isinstance(node, dict):
            return []
        fields = node.get("properties", {})
        here = [f"{path}.{name}" for name, field in fields.items() if not field.get("description")]
        return here + [found for key, item in node.items() for found in undescribed(item, f"{path}.{key}")]

    assert undescribed(schema(), "") == []


# --- the decision ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("run", "decision", "because"),
    [
        (results(), "is-ship SHIP", "Every required criterion passed"),
        (refused(1, failing()), "is-fail DO NOT SHIP", "Something required failed"),
        (
            refused(10, unevaluated()),
            "is-none DO NOT SHIP",
            "Incomplete: something required was not evaluated",
        ),
        (
            refused(11, inconclusive()),
            "is-open DO NOT SHIP",
            "Inconclusive: the cases are too few to decide",
        ),
        (refused(3), "is-none DO NOT SHIP", "Incomplete: pytest had an internal error"),
        (refused(99), "is-none DO NOT SHIP", "Incomplete: the run ended in an unknown way"),
    ],
    ids=["ship", "failed", "incomplete", "inconclusive", "crashed", "unknown"],
)
def test_the_decision_stands_first(run: dict, decision: str, because: str) -> None:
    html = render(run)
    assert heading(html) == decision
    verdict_text = Page(html).text("verdict")
    assert verdict_text.startswith(f"{decision.partition(' ')[2]} {because}")
    for reason in run["gate"]["reasons"]:
        assert reason in verdict_text
    assert f"<title>{decision.partition(' ')[2]}: " in html


@pytest.mark.parametrize(
    "change",
    [
        {"verdicts": [failing()]},
        {"verdicts": [unevaluated()]},
        {"gate": {"decision": "SHIP", "exit_status": 1, "reasons": []}},
        {"hard_cases": {"total": 2, "passed": 1, "missed": ["reg-7"], "not_evaluated": []}},
        {"hard_cases": {"total": 2, "passed": 1, "missed": [], "not_evaluated": ["reg-9"]}},
    ],
    ids=["failed", "unevaluated", "exit", "hard", "hard-unevaluated"],
)
def test_never_says_ship_against_its_own_results(change: dict) -> None:
    html = render(results(**change))
    assert heading(html) == "is-fail DO NOT SHIP"
    assert "The gate said SHIP, but its own results contradict it" in html


def test_a_refusal_with_exit_status_0_is_not_dressed_as_a_pass() -> None:
    assert heading(render(refused(0, failing()))) == "is-fail DO NOT SHIP"


def test_the_verdict_names_the_file_and_every_required_criterion(ship: Page) -> None:
    text, run = ship.text("verdict"), results()
    shipped = run["shipped"]
    for fact in (
        shipped["name"],
        shipped["sha256"],
        "105,453,984 bytes",
        "2026-11-21 13:00:00 UTC",
        "llama.cpp",
    ):
        assert fact in text
    for each in run["verdicts"]:
        if not is_step(each):  # steps that passed share a line
            assert (f"{each['status']} {each['criterion']} {each['title']}" in text) is each["required"]
    assert "PASS LOSS.operations Operations understood : training , merge , conversion , quantisation" in text
    assert "Required criteria: 20 of 20 passed" in text


# --- criteria -------------------------------------------------------------------------------------------
def test_a_criterion_shows_what_decided_it(ship: Page) -> None:
    text = ship.text("criteria")
    assert "95 % 75 to 97.8 %, n = 20, Wilson" in text
    assert "Required: accuracy >= 90 %" in text
    assert "To be sure at this rate: 140 cases." in text
    assert "Note: Rated by the automatic rubric" in text
    assert "difference +75 percentage points [+55 to +90 percentage points], p = 6.1e-05" in text
    assert "FAIL not required SC-3.general" in text


def test_criteria_are_grouped_in_the_order_of_the_task() -> None:
    groups = [group for group, _ in view.grouped(verdicts())]
    assert groups == ["SC-1", "SC-2", "SC-3", "SC-4", "SCHEMA", "LATENCY", "FIDELITY", "LOSS"]


def test_what_was_not_evaluated_says_why() -> None:
    text = Page(render(refused(10, unevaluated(reason="no Ollama server answers at 11434")))).text("criteria")
    assert "NOT EVALUATED SC-4.ollama" in text
    assert "Nothing was measured. no Ollama server answers at 11434" in text


def test_every_criterion_of_the_shipped_task_has_the_threshold_that_its_words_name() -> None:
    """Fails if the deciding number and the requirement's words part company, or a rule has no number."""
    for criterion in load_task(REPOSITORY / "golden" / "task_api").criteria:
        metric = METRICS[criterion.metric]
        made = verdict_for(criterion, PASS, metric.unit, metric.better)
        assert made.threshold is not None, criterion.id
        if criterion.rule != "superior":
            shown = 100 * abs(made.threshold) if metric.unit == "share" else abs(made.threshold)
            assert f" {shown:.4g}" in made.requirement, criterion.id


def test_the_bar_has_its_estimate_on_the_side_where_the_verdict_says() -> None:
    for each in verdicts():
        drawn = view.bar(each)
        if drawn is None:
            assert each["measured"] is None or each["measured"]["low"] is None
            continue
        inside = drawn["good"]["from"] <= drawn["value"] <= drawn["good"]["from"] + drawn["good"]["width"]
        assert inside is (each["status"] == "PASS"), each["criterion"]
        assert 0 <= drawn["low"] <= drawn["value"] <= drawn["high"] <= 100


@pytest.mark.parametrize("rule", ["non_inferior", "within"])
def test_a_lower_is_better_margin_lies_above_zero(rule: str) -> None:
    facts = {"rule": rule, "against": "base", "margin": 0.5, "why": "w", "title": "t", "metric": "m"}
    criterion = Criterion(id="X", **facts)
    assert verdict_for(criterion, PASS, "", "lower").threshold == 0.5
    assert verdict_for(criterion, PASS, "", "higher").threshold == -0.5


def test_a_verdict_leads_to_the_artifacts_that_it_rests_on() -> None:
    html = render(results())
    key = next(each["key"] for each in results()["artifacts"] if each["step"] == "quantized")
    anchor = re.search(rf'<a href="#(artifact-\d+)">quantized of a lamp <span class="mono">{key[:12]}', html)
    assert anchor
    assert re.search(rf'<tr id="{anchor[1]}"><th scope="row">quantized of a lamp', html)


def test_without_a_dataset_artifact_the_adapter_names_its_data() -> None:
    made = [each for each in results()["artifacts"] if each["step"] == "adapter"]
    text = Page(render(results(artifacts=[made[0] | {"inputs": {"dataset": "beef" * 16}}]))).text(
        "provenance"
    )
    assert "Digests of what the adapter was trained on. dataset " + "beef" * 16 in text


@pytest.mark.parametrize("asked", ["trl", "unsloth"])
def test_another_backend_than_the_recipe_asks_for_is_said_on_page_and_in_the_summary(asked: str) -> None:
    run = results()
    made = [each for each in run["artifacts"] if each["step"] == "adapter"]
    run["artifacts"] = [made[0] | {"facts": made[0]["facts"] | {"backend": "trl"}}]
    run["recipe"] |= {"backend": asked}
    told = f"asks for {asked}, which was not to be had"
    assert (told in Page(render(run)).text("verdict")) is (asked != "trl")
    assert (told in summary(run)) is (asked != "trl")


# --- side by side, misses -------------------------------------------------------------------------------
def test_models_stand_side_by_side_from_base_to_shipped(ship: Page) -> None:
    text = ship.text("compared")
    assert "Metric base prompted base shipped" in text
    assert "accuracy 20 % [0 to 35.6 %] 65 % [45 to 73 %] 95 % [75 to 97.8 %] 20 higher" in text
    assert "keyword recall 55 % [34 to 74 %] not measured 20 % [8 to 42 %]" in text
    assert "update 0 % 75 % 75 % 4" in text


def test_every_answer_of_every_model_is_on_the_page() -> None:
    told = {model: f"what {model} said" for model in ("base", "prompted_base", "shipped")}
    for_model = {m: dataclasses.replace(shares(m), answers={"domain-list-1": told[m]}) for m in told}
    compared = [
        verdict(
            "SC-3.x",
            "x",
            **superior("m", rival),
            measured=for_model["shipped"],
            against=for_model[rival],
        )
        for rival in ("base", "prompted_base")
    ]
    text = Page(render(results(verdicts=compared))).text("compared")
    assert all(words in text for words in told.values())


def test_misses_are_told_in_full() -> None:
    long = "word " * 300 + "END"
    missed = miss(actual=long, prompt="the whole question", expected="the whole expectation")
    text = Page(render(results(verdicts=[verdicts()[0] | {"misses": [dataclasses.asdict(missed)]}]))).text(
        "misses"
    )
    for part in (long, "the whole question", "the whole expectation", missed.reason, missed.where):
        assert part in text


def test_missed_observations_are_told_and_the_others_counted() -> None:
    seen = [
        observation(CASES[0]),
        observation(CASES[1], missed=True, hard=True, reason="wrong in its own way"),
    ]
    text = Page(render(results(observations=seen))).text("misses")
    assert "Missed observations: 1 of 2" in text
    assert f"{CASES[1]} hard" in text
    assert "wrong in its own way" in text
    assert CASES[0] not in text


# --- stages at fault, folding ---------------------------------------------------------------------------
def damaged(count: int, **changes: str) -> list[Miss]:
    return [check(f"blk.{n}.attn_q.weight", "merge", **changes) for n in range(count)]


def test_stages_at_fault_stand_under_the_decision_in_the_order_of_the_pipeline() -> None:
    """Fails if the stages are left out, are those of a criterion that does not stop the release, or unsorted."""
    elsewhere = fidelity(check(stage="template"))[0] | {"criterion": "FIDELITY.other", "required": False}
    wrong = fidelity(check(stage="quantisation"), check("token ids", "tokenizer"))
    run = refused(1, elsewhere, *wrong, *operations(merged=CASES[:3]))
    text = Page(render(run)).text("verdict")
    assert (
        "failed Stages at fault: merge ( LOSS.operations.merge ) , tokenizer ( FIDELITY.weights ) , quantisation "
        "( FIDELITY.weights ) FIDELITY.weights FAIL"
    ) in text
    assert "template" not in text
    assert "stages at fault: quantisation, tokenizer" in text  # beside the criterion itself
    assert "stage at fault: merge" in text


def test_no_stage_is_at_fault_where_none_is_named(ship: Page) -> None:
    assert "at fault" not in ship.text("verdict")
    assert "at fault" not in Page(render(refused(1, failing()))).text("verdict")


@pytest.mark.parametrize("changes", [{}, {"actual": "two\nlines"}], ids=["table", "cards"])
def test_misses_beyond_twenty_are_folded_and_none_is_lost(changes: dict[str, str]) -> None:
    """Fails if a miss is dropped, or if more than 20 stand open."""
    html = render(refused(1, *fidelity(*damaged(272, **changes))))
    shown, _, folded = html[html.index('<section id="misses">') :].partition("and 252 more</summary>")
    assert "blk.19.attn_q.weight" in shown
    assert "blk.20.attn_q.weight" not in shown
    assert all(f"blk.{n}.attn_q.weight" in folded for n in range(20, 272))
    assert Page(html).unbalanced == []


def test_twenty_misses_are_not_folded() -> None:
    assert "more</summary>" not in render(refused(1, *fidelity(*damaged(20))))


def test_a_check_says_what_was_expected_found_and_which_stage_it_was() -> None:
    text = Page(render(refused(1, *fidelity(check())))).text("misses")
    assert "rope.freq_base expected 100000 found 10000 conversion differs from the trained" in text


def test_a_check_of_long_texts_is_a_card_without_a_question() -> None:
    wrong = check("conversation 3", "template", expected="<|im_start|>\nyou", actual="you")
    text = Page(render(results(verdicts=fidelity(wrong)))).text("misses")
    assert "conversation 3 template differs from the trained model (template) expected <|im_start|>" in text
    assert "asked (empty)" not in text


def test_hostile_names_of_checks_stay_text(ship: Page) -> None:
    """Fails if a name, value or stage of a check gets into the page unescaped; both layouts are tried."""
    name = "<script>alert(1)</script>"
    for text in (name, f"{name}\n" * 9):
        wrong = Miss(text, "", text, text, text, stage=text)
        page = Page(render(refused(1, *fidelity(wrong))))
        assert "script" not in page.tags
        assert name in page.text("misses")
        assert name in page.text("verdict")


def test_steps_that_passed_are_folded_and_failed_ones_are_not() -> None:
    """Fails if 13 comparisons drown the criteria again, or a failed one is hidden among them."""
    html = render(refused(1, *operations(merged=CASES[:3])))
    criteria = html[html.index('<section id="criteria">') : html.index('<section id="compared">')]
    shown, _, folded = criteria.partition("comparisons of stages, passed or not required</summary>")
    assert "<h4>LOSS.operations.merge</h4>" in shown
    assert "<h4>LOSS.operations.conversion</h4>" not in shown
    assert "<h4>LOSS.operations.conversion</h4>" in folded
    assert "<h4>LOSS.operations.ollama</h4>" in folded


# --- what is missing ------------------------------------------------------------------------------------
def test_missing_pieces_are_named() -> None:
    bare = verdict("SC-1", "Domain", measured=shares("shipped"))
    html = render(
        results(
            verdicts=[bare],
            observations=[],
            shipped=None,
            recipe=None,
            modelfile=None,
            adapter_history=[],
            timings=[],
            artifacts=[],
            hard_cases={"total": 0, "passed": 0, "missed": [], "not_evaluated": []},
            run=results()["run"] | {"git": None, "memory_gb": None},
        )
    )
    text = Page(html).text()
    for words in (
        "none: no file was judged",
        "not in a git checkout",
        "This task has no hard cases.",
        "there is nothing to set side by side",
        "No case counted against a criterion.",
        "No per-case test ran.",
        "No training belongs to this run",
        "No answers were timed.",
        "None: nothing was built for this run.",
        "no dataset belongs to this run",
        "None: the model was made elsewhere.",
    ):
        assert words in text
    assert html.count('class="plot"') == 2
    assert "<clipPath" not in html


def test_a_trainer_that_logged_no_loss_is_told_apart_from_no_training() -> None:
    summary_only = [{"step": 170, "train_loss": 0.5}]
    assert "The trainer logged no loss." in render(results(adapter_history=summary_only))


def test_a_value_that_is_not_a_number_is_named() -> None:
    broken = verdict(
        "SC-1",
        "Domain",
        "INCONCLUSIVE",
        measured=Measured("shipped", float("nan"), 0.1, 0.2, 3, "x"),
    )
    assert "not a number" in render(finite(refused(11, broken)))


# --- hostile text ---------------------------------------------------------------------------------------
def poisoned(text: str) -> dict:
    """Results in which every string that a model, a case or a task can choose holds ``text``."""

    def poison(value: object, key: str = "") -> object:
        if isinstance(value, dict):
            return {name: poison(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [poison(item, key) for item in value]
        kept = key in {
            "status",
            "decision",
            "sha256",
            "rule",
            "unit",
            "better",
            "metric",
            "model",
            "step",
        }
        return value if kept or not isinstance(value, str) else f"{value} {text}"

    poisoned = poison(results())
    assert isinstance(poisoned, dict)
    return poisoned


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text: str, ship: Page) -> None:
    page = Page(render(poisoned(text)))
    assert sorted(set(page.tags)) == sorted(set(ship.tags))
    assert {name for name, _ in page.attributes} == {name for name, _ in ship.attributes}
    assert page.unbalanced == []
    for section in ("verdict", "criteria", "compared", "misses", "provenance"):
        assert " ".join(text.split()) in page.text(section), section


def test_hostile_names_of_models_metrics_and_cases_stay_text(ship: Page) -> None:
    name = "</svg><script>$\\frac{$\x1b"
    compared = verdict(
        "SC-3.x", "x", **superior(name, name), measured=shares("shipped"), against=shares("base")
    )
    compared["against"]["model"] = name
    timed = [{"case": name, "seconds": 1.0, "first_token_seconds": None, "completion_tokens": 3}]
    page = Page(render(results(verdicts=[compared], timings=timed)))
    assert set(page.tags) <= set(ship.tags)
    assert r"</svg><script>$\frac{$\x1b" in page.text("plots")


def test_what_cannot_be_seen_is_spelled_out() -> None:
    html = render(poisoned("a\u202eb\x07c\x00d\u200be\ud800f\u2028g\rh"))
    assert r"a\u202eb\x07c\x00d\u200be\ud800f\u2028g\rh" in html
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", html
    )


def test_hidden_characters_survive_in_the_results(tmp_path: Path) -> None:
    text = "a\u202eb\x00\ud800"
    write_report(results(modelfile=text), tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())["modelfile"] == text
    assert (tmp_path / "results.json").read_text().isascii()


def test_a_huge_answer_is_cut_with_a_word_about_the_rest() -> None:
    answer = "x" * 3_000_000
    html = render(results(observations=[observation(CASES[0], missed=True, actual=answer)]))
    assert f"{len(answer) - LONGEST:,} more characters; results.json has them all" in html
    assert len(html) < 1_000_000


def test_an_answer_keeps_its_first_empty_line_and_its_spaces() -> None:
    html = render(results(modelfile="\n  FROM x"))
    assert '<pre dir="auto">\n\n  FROM x</pre>' in html


def test_nothing_is_loaded_and_nothing_runs(ship: Page) -> None:
    loads = [value for name, value in ship.attributes if name.endswith(("href", "src")) or name == "srcset"]
    assert loads
    assert all(value and value.startswith("#") for value in loads)
    assert not {"script", "iframe", "object", "embed", "img", "link", "form", "base"} & set(ship.tags)
    assert not [name for name, _ in ship.attributes if name.startswith("on")]
    html = render(results())
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert "default-src 'none'" in html


def test_the_page_is_well_formed_and_its_links_lead_somewhere(ship: Page) -> None:
    assert ship.unbalanced == []
    assert ship.open == []
    ids = [value for name, value in ship.attributes if name == "id"]
    assert len(set(ids)) == len(ids)
    assert {value[1:] for name, value in ship.attributes if name.endswith("href") and value} <= set(ids)


# --- drawings -------------------------------------------------------------------------------------------
def test_the_loss_curve_leaves_out_what_was_not_logged() -> None:
    history = [{"step": 1, "loss": 2.0}, {"step": 2, "eval_loss": 0.75}, {"step": 3, "loss": None}]
    drawn = plots.loss_curve(history)
    assert drawn
    assert "training, 2.000 at the end" in drawn
    assert "evaluation, 0.750 at the end" in drawn
    assert plots.loss_curve([{"step": 3, "train_loss": 0.5}]) is None


def test_the_latency_drawing_marks_the_percentiles() -> None:
    timings = [{"case": f"c{n}", "seconds": float(n), "first_token_seconds": n / 10} for n in range(1, 22)]
    drawn = plots.latency(timings)
    assert drawn
    for words in ("p50 11 s", "p95 20 s", "p50 1.1 s", "p95 2 s", ">c21<"):
        assert words in drawn


def test_many_timed_cases_are_drawn_without_names() -> None:
    timings = [{"case": f"c{n}", "seconds": 1.0, "first_token_seconds": None} for n in range(300)]
    drawn = plots.latency(timings)
    assert drawn
    assert ">c21<" not in drawn
    assert "first token" not in drawn


@pytest.mark.filterwarnings("error")
def test_long_names_leave_room_for_the_drawing() -> None:
    drawn = plots.latency([{"case": "x" * 5000, "seconds": 1.0, "first_token_seconds": 0.1}])
    assert drawn
    assert "x" * 29 + "…" in drawn


def test_accuracy_bars_leave_out_what_is_no_share() -> None:
    rows = view.side_by_side(verdicts(), [])["rows"]
    drawn = plots.accuracy_bars(rows, view.MODELS)
    assert drawn
    assert "accuracy" in drawn
    assert "perplexity" not in drawn
    assert plots.accuracy_bars([row for row in rows if row["unit"] != "share"], view.MODELS) is None


def test_drawings_take_their_colours_from_the_page() -> None:
    drawn = plots.loss_curve(results()["adapter_history"])
    assert drawn
    assert "var(--plot-shipped, #1c6a9e)" in drawn
    assert drawn.startswith("<svg")
    assert not re.search("<metadata|<style", drawn)


def test_a_persons_own_matplotlib_settings_change_nothing() -> None:
    import matplotlib

    before = plots.latency(results()["timings"])
    with matplotlib.rc_context({"lines.linewidth": 9, "font.size": 30, "svg.fonttype": "path"}):
        assert plots.latency(results()["timings"]) == before
        assert matplotlib.rcParams["font.size"] == 30


# --- words ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("value", "unit", "sign", "words"),
    [
        (0.9, "share", False, "90 %"),
        (0.8333, "share", False, "83.3 %"),
        (0.9946, "share", False, "99.46 %"),
        (1.0, "share", False, "100 %"),
        (0.0, "share", False, "0 %"),
        (-0.355, "share", True, "\N{MINUS SIGN}35.5 percentage points"),
        (0.1, "share", True, "+10 percentage points"),
        (0.105454, "GB", False, "0.105 GB"),
        (1234.6, "", False, "1,235"),
        (-0.0, "s", True, "0 s"),
        (None, "s", False, "not a number"),
    ],
)
def test_amounts_are_rounded_with_sense(value: float | None, unit: str, sign: bool, words: str) -> None:
    assert amount(value, unit, sign) == words


def test_other_words() -> None:
    assert interval(0.531, 0.888, "share") == "53.1 to 88.8 %"
    assert interval(None, 0.888, "share") == ""
    assert [duration(seconds) for seconds in (3.94, 59.99, 402.6, 7384)] == [
        "3.9 s",
        "60.0 s",
        "6 min 43 s",
        "2 h 3 min",
    ]
    assert [size(count) for count in (912, 214_882, 105_453_984, 5 * 10**9)] == [
        "912 bytes",
        "215 kB",
        "105 MB",
        "5 GB",
    ]
    assert moment("2026-11-21T13:00:00Z") == "2026-11-21 13:00:00 UTC"
    assert moment("yesterday") == "yesterday"
    assert clip("short") == "short"
    assert visible("naïve café 👍 日本 \t\n") == "naïve café 👍 日本 \t\n"
