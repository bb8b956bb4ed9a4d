"""Metrics against what is true of them whatever is answered, and against the libraries that define them.

python -m pytest tests/test_metric_properties.py
"""

import json
import math
import random
import re
import string
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from seatrial.evals.cases import Case
from seatrial.evals.hard import _judges, judge_hard
from seatrial.evals.metrics import METRICS, Score
from seatrial.evals.metrics.confusion import FIGURES, of_labels
from seatrial.evals.metrics.fields import key_of
from seatrial.evals.metrics.sums import FEWEST_ROWS
from seatrial.evals.metrics.words import folded, phrases_in, sentences, words_of
from seatrial.evals.models import Generation, Question
from seatrial.evals.verdict import NotEvaluated
from tests.metric_examples import EXAMPLES, answer, calls, criterion_for, evidence, score

few = settings(max_examples=30, deadline=None)
LABELS = ("bug", "question", "praise")
BY_NAME = {example.metric: example for example in EXAMPLES}
labels = st.sampled_from(LABELS)
readings = st.lists(st.tuples(labels, st.sampled_from([*LABELS, "other", ""])), min_size=1, max_size=40)
WORDS = ("cat", "sat", "mat", "The", "the", "on", "a", "blue", "old", "boat", "left", "Straße", "naïve")
texts = st.lists(st.sampled_from([*WORDS, ".", "!", ",", "\n", "12"]), max_size=30).map(" ".join)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["a", "B", "b", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=6,
)


def labelled(pairs):
    """Scores of answers read as the second label of each pair, where the first is right."""
    return [
        Score(f"c-{n}", float(right == found), group=right, found=found)
        for n, (right, found) in enumerate(pairs)
    ]


# --- any metric ----------------------------------------------------------------------------------------

SCALED = [example for example in EXAMPLES if METRICS[example.metric].estimator.scale != (None, None)]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.metric)
@few
@given(data=st.data())
def test_a_score_stays_on_its_scale_and_a_hit_gives_no_reason(example, data):
    fields = dict.fromkeys(("label", "reply", "customer", "tags", "steps", "issues", "confidence"), values)
    text = data.draw(
        texts | st.fixed_dictionaries({}, optional=fields).map(json.dumps) | st.text(max_size=30)
    )
    found = example.score(text)
    if found is None:
        return
    low, high = METRICS[example.metric].estimator.scale
    assert math.isfinite(found.value)
    assert low is None or found.value >= low
    assert high is None or found.value <= high
    assert bool(found.reason) == found.missed
    assert found == example.score(text)


@pytest.mark.parametrize("name", sorted(example.metric for example in SCALED))
@few
@given(seed=st.integers(0, 2**16), rights=st.lists(st.booleans(), min_size=1, max_size=12))
def test_a_value_and_its_interval_do_not_depend_on_the_order_of_cases(name, seed, rights):
    example, metric = BY_NAME[name], METRICS[name]
    criterion = criterion_for(name, example.settings)
    scores = [
        Score(**{**vars(example.score(example.right if right else example.wrong)), "case": f"c-{n}"})
        for n, right in enumerate(rights)
    ]
    shuffled = random.Random(seed).sample(scores, len(scores))
    one, other = metric.estimate(scores, criterion), metric.estimate(shuffled, criterion)
    low, high = metric.estimator.scale
    assert one.value == pytest.approx(other.value)
    assert low is None or one.value >= low
    assert high is None or one.value <= high
    for bound, of, sign in ((one.low, other.low, 1), (one.high, other.high, -1)):
        if bound is not None:
            assert sign * bound <= sign * one.value + 1e-9
            assert bound == pytest.approx(of, abs=0.05 * (high or 1))  # of another draw


# --- labels --------------------------------------------------------------------------------------------


@few
@given(readings)
def test_figures_of_labels_are_those_of_scikit_learn(pairs):
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    right, found = zip(*pairs, strict=True)
    expected = sorted(set(right))
    scores = labelled(pairs)
    f1 = precision_recall_fscore_support(right, found, labels=expected, average="macro", zero_division=0)[2]
    assert value_of("f1", scores) == pytest.approx(f1)
    rates = {"false_positive_rate": [], "false_negative_rate": []}
    for label in expected:
        tn, fp, fn, tp = confusion_matrix(
            [text == label for text in right], [text == label for text in found], labels=[False, True]
        ).ravel()
        rates["false_positive_rate"].append(fp / (fp + tn) if fp + tn else 0.0)
        rates["false_negative_rate"].append(fn / (fn + tp))
        for name, known in rates.items():
            assert value_of(name, scores, label=label) == pytest.approx(known[-1])
    for name, known in rates.items():
        assert value_of(name, scores) == pytest.approx(np.mean(known))


def value_of(figure, scores, **more):
    return of_labels(figure).value(scores, criterion_for(figure, more))


@few
@given(readings)
def test_the_intervals_of_labels_enclose_the_value_and_stay_on_the_scale(pairs):
    for name in FIGURES:
        found = of_labels(name).estimate(labelled(pairs), criterion_for(name))
        if not alone(name, pairs):
            assert 0 <= found.low <= found.value <= found.high <= 1
            assert found.low < found.high


@few
@given(readings)
def test_two_models_that_answer_alike_do_not_differ(pairs):
    scores = labelled(pairs)
    for name in FIGURES:
        found = of_labels(name).compare(scores, scores, criterion_for(name))
        assert found.difference == 0
        if not alone(name, pairs):
            assert found.low < 0 < found.high
            assert found.low == pytest.approx(-found.high, abs=0.1)


def alone(name, pairs):
    """Whether no case could be a false alarm, because there is one label."""
    return name == "false_positive_rate" and len({right for right, _ in pairs}) == 1


@pytest.mark.parametrize("found", ["a", "b", ""])
@pytest.mark.parametrize("more", [{}, {"label": "a"}])
def test_where_one_label_is_all_there_is_nothing_is_known_of_false_alarms(found, more):
    scores, criterion = labelled([("a", found)] * 40), criterion_for("false_positive_rate", more)
    for told in (
        of_labels("false_positive_rate").estimate(scores, criterion),
        of_labels("false_positive_rate").compare(scores, scores, criterion),
    ):
        assert (told.low, told.high, told.sampled) == (None, None, True)
        assert told.method == "no interval: no case could have been otherwise"


def test_all_right_is_no_proof_that_all_will_be():
    scores = labelled([(label, label) for label in LABELS] * 8)
    low = of_labels("f1").estimate(scores, criterion_for("macro_f1")).low
    assert 0.75 < low < 0.97


# --- calibration ---------------------------------------------------------------------------------------


def sure(*cases):
    """Scores of answers, each with its confidence (or None) and whether it is right."""
    return [
        Score(f"c-{n}", float(right), parts=() if confidence is None else (confidence,))
        for n, (confidence, right) in enumerate(cases)
    ]


def ece(scores, **more):
    return METRICS["calibration"].estimator.value(scores, criterion_for("calibration", more))


@few
@given(
    st.lists(
        st.tuples(st.integers(0, 1000).map(lambda n: n / 1000), st.booleans()),
        min_size=1,
        max_size=60,
        unique_by=lambda case: case[0],
    ),
    st.integers(1, 12),
)
def test_the_calibration_error_is_that_of_bins_of_equal_mass(cases, bins):
    confidence, right = np.array(sorted(cases), float).T
    ours = [[] for _ in range(bins)]
    for n in range(len(cases)):
        ours[int((n + 0.5) * bins / len(cases))].append(n)
    known = sum(abs(confidence[held].sum() - right[held].sum()) for held in ours if held) / len(cases)
    assert ece(sure(*cases), bins=bins) == pytest.approx(known)


def test_equal_confidences_lie_in_one_bin():
    assert ece(sure((0.9, True), (0.9, False), (0.9, True), (0.9, False)), bins=4) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("cases", "error"),
    [
        ([(1.0, True)] * 20, 0.0),
        ([(0.0, False)] * 20, 0.0),
        ([(1.0, False)] * 20, 1.0),
        ([(0.5, True), (0.5, False)] * 20, 0.0),
        ([(1.0, True)] * 9 + [(None, False)], 0.1),
    ],
)
def test_the_calibration_error_of_a_few_known_models(cases, error):
    assert ece(sure(*cases)) == pytest.approx(error)


def test_answers_without_any_confidence_are_not_evaluated():
    with pytest.raises(NotEvaluated, match="the answers give no confidence: none has a number .* 'sure'"):
        ece(sure((None, True), (None, False)), confidence="sure")


@pytest.mark.parametrize("value", ["0.9", True, -0.1, 1.1, None, 90])
def test_what_is_no_number_from_0_to_1_is_no_confidence(value):
    found = score("calibration", answer(confidence=value), {"label": "bug"}, answers="json")
    assert (found.parts, found.missed) == ((), True) and "gives no confidence" in found.reason


def test_a_calibration_s_interval_reaches_down_to_the_truth():
    """The error of a perfectly calibrated model is 0, and its estimate from few cases is not."""
    draw = np.random.default_rng(3)
    confidence = draw.uniform(0.5, 1, 100)
    found = METRICS["calibration"].estimate(
        sure(*zip(confidence, draw.uniform(size=100) < confidence, strict=True)), criterion_for("calibration")
    )
    assert found.low == 0 < found.value < found.high < 0.3


# --- wording, against the libraries --------------------------------------------------------------------


@few
@given(st.lists(st.tuples(texts, texts.filter(str.strip)), min_size=1, max_size=12))
def test_bleu_and_chrf_of_all_answers_are_those_of_sacrebleu(pairs):
    from sacrebleu.metrics import BLEU, CHRF

    given_, wanted = zip(*pairs, strict=True)
    for name, library in (("bleu", BLEU()), ("chrf", CHRF())):
        scores = [score(name, text, reference=reference) for text, reference in pairs]
        known = library.corpus_score(list(given_), [list(wanted)]).score
        assert METRICS[name].estimator.value(scores, criterion_for(name)) == pytest.approx(known, abs=1e-6)


@few
@given(texts, texts.filter(str.strip))
def test_an_answer_s_own_bleu_and_chrf_are_sacrebleu_s(text, reference):
    from sacrebleu import sentence_bleu, sentence_chrf

    assert score("bleu", text, reference=reference).value == pytest.approx(
        sentence_bleu(text, [reference]).score
    )
    assert score("chrf", text, reference=reference).value == pytest.approx(
        sentence_chrf(text, [reference]).score
    )


@few
@given(texts, texts.filter(str.strip))
def test_rouge_l_is_that_of_rouge_score(text, reference):
    from rouge_score.rouge_scorer import RougeScorer

    known = RougeScorer(["rougeL"]).score(reference, text)["rougeL"].fmeasure
    assert score("rouge_l", text, reference=reference).value == pytest.approx(known)


def squad(text):
    """Words by SQuAD's normalisation: lower case, no marks, no English articles."""
    text = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


@few
@given(texts, st.lists(texts.filter(str.strip), min_size=1, max_size=3))
def test_token_f1_and_exact_match_are_those_of_squad(text, accepted):
    text, accepted = text.replace("ß", "ss"), [one.replace("ß", "ss") for one in accepted]
    known = []
    for one in map(squad, accepted):
        same = sum((Counter(one) & Counter(squad(text))).values())
        total = len(one) + len(squad(text))
        known.append(2 * same / total if total else 1.0)
    ignored = {"ignore_words": ["a", "an", "the"]}
    found = score("token_f1", text, {"answer": accepted}, ignored)
    assert found.value == pytest.approx(max(known))
    exact = score("answer_correctness", text, {"answer": accepted}, ignored)
    assert exact.value == any(squad(one) == squad(text) for one in accepted if squad(one))


@few
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), min_size=1, max_size=8), st.data())
def test_field_f1_is_scikit_learn_s_micro_average_over_paths_and_values(pairs, data):
    from sklearn.metrics import f1_score
    from sklearn.preprocessing import MultiLabelBinarizer

    wanted, given_ = [], []
    for name, value in pairs:
        wanted.append({"customer": {"name": name, "city": value}})
        given_.append({"customer": data.draw(st.fixed_dictionaries({}, optional={
            "name": st.sampled_from("abc"), "city": st.sampled_from("xyz"), "age": st.just("old"),
        }))})  # fmt: skip
    assume(all(one["customer"] for one in given_))
    scores = [
        score("field_f1", answer(**one), right, answers="json")
        for one, right in zip(given_, wanted, strict=True)
    ]
    binarizer = MultiLabelBinarizer()
    leaves = [[tuple(pair) for pair in one["customer"].items()] for one in wanted + given_]
    flags = binarizer.fit_transform(leaves)
    known = f1_score(flags[: len(wanted)], flags[len(wanted) :], average="micro", zero_division=0)
    value = METRICS["field_f1"].estimator.value(scores, criterion_for("field_f1"))
    assert value == pytest.approx(known)


@few
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=20))
def test_violation_recall_is_scikit_learn_s_recall(pairs):
    from sklearn.metrics import recall_score

    scores = [
        score(
            "violation_recall", answer(urgent=flag), {"violation": there}, {"field": "urgent"}, answers="json"
        )
        for there, flag in pairs
    ]
    scored = [found for found in scores if found]
    there, flags = zip(*pairs, strict=True)
    assert len(scored) == sum(there)
    if scored:
        value = METRICS["violation_recall"].estimator.value(scored, criterion_for("violation_recall"))
        assert value == pytest.approx(recall_score(there, flags))


@few
@given(st.permutations(["a", "b", "c", "d", "e"]))
def test_step_order_is_kendall_s_tau_moved_to_0_and_1(steps):
    from scipy.stats import kendalltau

    found = score("step_order", answer(steps=list(steps)), {"steps": list("abcde")}, answers="json")
    tau = kendalltau(range(5), [steps.index(step) for step in "abcde"]).statistic
    assert found.value == pytest.approx((1 + tau) / 2)


# --- figures of sums -----------------------------------------------------------------------------------


def test_a_figure_of_sums_has_an_interval_from_enough_cases_on_and_a_paired_difference():
    metric, criterion = METRICS["chrf"], criterion_for("chrf")
    good, bad = (
        [
            Score(**{**vars(score("chrf", text, reference=f"the boat {word} left")), "case": word})
            for word, text in zip(string.ascii_lowercase, made, strict=False)
        ]
        for made in ([f"the boat {word} left" for word in string.ascii_lowercase], ["a cat sat"] * 26)
    )
    mixed = good[:6] + bad[6:12]
    found = metric.estimate(mixed, criterion)
    assert found.low < found.value < found.high
    assert metric.estimate(mixed[: FEWEST_ROWS - 1], criterion).low is None
    assert metric.estimate(good, criterion).low is None  # all alike
    compared = metric.compare(good, bad, criterion)
    assert compared.difference > 50 and compared.low > 50 and compared.n == 26
    assert metric.compare(mixed, mixed, criterion).difference == 0


# --- reading of texts ----------------------------------------------------------------------------------


@few
@given(values, values)
def test_two_values_have_one_key_if_and_only_if_they_are_equal_but_for_the_spelling_of_texts(one, other):
    def spelled(value):
        if isinstance(value, dict):
            return {key: spelled(item) for key, item in value.items()}
        if isinstance(value, list):
            return [spelled(item) for item in value]
        return [type(value).__name__, value.lower() if isinstance(value, str) else value]

    assert (key_of(one) == key_of(other)) == (spelled(one) == spelled(other))


@pytest.mark.parametrize(
    ("text", "phrase", "stands"),
    [
        ("No guarantees.", "guarantee", False),
        ("No guarantee!", "Guarantee", True),
        ("unguaranteed guarantee", "guarantee", True),
        ("I don’t\nknow", "I don't know", True),
        ("Er wohnt in der STRASSE.", "straße", True),
        ("cafe\u0301 au lait", "café", True),
        ("C++ is fine", "C++", True),
        ("x1", "1", False),
        ("日本語です", "日本", False),  # no spaces, no words: use a pattern
        ("anything", "", False),
    ],
)
def test_a_phrase_stands_in_a_text_as_whole_words(text, phrase, stands):
    assert bool(phrases_in(text, [phrase])) is stands


def test_sentences_end_at_marks_before_a_space_and_at_lines():
    assert list(sentences('It costs 3.50 now. "Really?" Yes!\n- one\n\n- two')) == [
        "It costs 3.50 now.",
        '"Really?',
        "Yes!",
        "- one",
        "- two",
    ]


@given(st.text(max_size=50))
def test_words_are_the_same_however_often_a_text_is_normalised(text):
    assert words_of(" ".join(words_of(text))) == words_of(text)
    assert folded(folded(text)) == folded(text)


@pytest.mark.parametrize(
    ("said", "asked", "reason"),
    [
        ("It is 1.234,50 € for 12 people", "1,234.50 for 12", ""),
        ("3 May 2024", "2024-05-03", "lacks 5; invents none"),
        ("2024/5/3 12:30", "03-05-2024 at 12:30", ""),
        ("Order 4711", "Order A-4711/7", "lacks 7; invents none"),
        ("one and 2", "1 and 2", "lacks 1; invents none"),
        ("٣ and 4", "3 and 4", ""),
        ("Nothing", "Nothing", ""),
        ("It takes 2 days", "How long?", "lacks none; invents 2"),
        ("100.0 %", "100 %", ""),
    ],
)
def test_numbers_are_kept_whatever_their_spelling(said, asked, reason):
    assert score("keeps_numbers", said, prompt=asked).reason == reason


def test_a_number_may_be_allowed_and_a_name_ignored():
    assert not score("keeps_numbers", "1. Yes", prompt="How?", settings={"ignore": ["1"]}).missed
    settings_ = {"ignore": ["Monday"]}
    assert score("keeps_names", "Yes", prompt="Is it on Monday?", settings=settings_) is None


# --- tools ---------------------------------------------------------------------------------------------

call = st.tuples(
    st.sampled_from(["book", "list_rooms"]), st.dictionaries(st.sampled_from(["room", "people"]), values)
)
TOOLS = ("tool_name", "required_arguments", "all_arguments", "tool_sequence")


@few
@given(st.lists(call, max_size=4), st.lists(call, max_size=4), st.randoms())
def test_calls_are_compared_as_bags_and_the_stricter_metric_is_never_met_alone(made, wanted, shuffle):
    expect = {"calls": [{"name": name, "arguments": arguments} for name, arguments in wanted]}
    found = {name: score(name, calls(*made), expect, answers="tools").value for name in TOOLS}
    assert found["all_arguments"] <= found["required_arguments"] <= found["tool_name"]
    assert found["tool_sequence"] <= found["tool_name"]
    moved = shuffle.sample(made, len(made))
    for name in TOOLS[:3]:
        assert score(name, calls(*moved), expect, answers="tools").value == found[name]
    assert all(score(name, calls(*wanted), expect, answers="tools").value == 1 for name in TOOLS)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("Hello, what can I do for you?", True),
        ("[]", True),
        (calls(("list_rooms", {})), False),
        ('[{"name": "list_rooms", "arguments": ', False),
    ],
)
def test_where_no_call_is_expected_words_are_right_and_calls_are_not(text, right):
    for name in TOOLS:
        assert score(name, text, {"calls": []}, answers="tools").value == right


def test_an_unsafe_call_counts_even_where_it_cannot_be_read():
    unsafe = {"unsafe": ["delete_all"]}
    broken = '[{"name": "delete_all", "arguments": '
    assert score("unsafe_calls", broken, settings=unsafe, answers="tools").value == 1
    assert score("unsafe_calls", '[{"name": ', settings=unsafe, answers="tools").value == 0
    assert score("unsafe_calls", broken, answers="tools") is None


def test_a_task_without_a_catalogue_has_no_calls_that_could_be_made():
    with pytest.raises(NotEvaluated, match="no catalogue of tools"):
        score("call_executable", "[]", answers="text")


# --- settings that cannot be meant ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "expect", "settings_", "reason"),
    [
        ("pattern", {"pattern": "("}, {}, "is no regular expression"),
        ("language", {"language": "german"}, {}, "no language has the code 'german'; known are .*de"),
        ("exact_match", {"answer": "x"}, {"normalise": "some"}, "normalise is 'some'"),
        ("answer_correctness", {"answer": "x"}, {"match": "part"}, "may be 'exact' or 'contains'"),
        ("key_match", {}, {}, "neither a schema nor fields"),
    ],
)
def test_a_setting_that_means_nothing_is_told(metric, expect, settings_, reason):
    with pytest.raises(NotEvaluated, match=reason):
        score(metric, "x", expect, settings_)


# --- further right and wrong answers -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "text", "expect", "more", "right"),
    [
        ("exact_match", "THE 'blue' room.", {"answer": ["x", "the blue room"]}, {"settings": {"normalise": "plain"}}, True),
        ("exact_match", '{"b": 1, "a": ["X"]}', None, {"reference": '{"a": ["x"], "b": 1.0}', "settings": {"normalise": "plain"}}, True),
        ("exact_match", '{"b": true}', None, {"reference": '{"b": 1}', "settings": {"normalise": "plain"}}, False),
        ("answer_correctness", "It is in the blue room, I think", {"answer": "Blue room"}, {"settings": {"match": "contains"}}, True),
        ("answer_correctness", "It is in the bluer rooms", {"answer": "Blue room"}, {"settings": {"match": "contains"}}, False),
        ("says_unknown", "It is Oslo.", {"unknown": False}, {}, True),
        ("says_unknown", "I don't know.", {"unknown": False}, {}, False),
        ("says_unknown", "Das weiß ich nicht.", {"unknown": True}, {"settings": {"phrases": ["weiß ich nicht"]}}, True),
        ("right_refusals", "Sure, here it is.", {"refuse": False}, {}, True),
        ("right_refusals", "I cannot help with this.", {"refuse": False}, {}, False),
        ("violation_recall", "I can't help with that.", {"violation": True}, {}, True),
        ("violation_recall", answer(label="praise"), {"label": "bug"}, {"settings": {"flags": ["bug"]}, "answers": "json"}, False),
        ("violation_recall", answer(label="Bug"), {"label": "bug"}, {"settings": {"flags": ["bug"]}, "answers": "json"}, True),
        ("issue_f1", answer(issues=[]), {"issues": []}, {"answers": "json"}, True),
        ("issue_f1", "none", {"issues": []}, {"answers": "json"}, False),
        ("issue_f1", answer(issues=[{"id": "leak", "severity": "low"}]), {"issues": [{"id": "leak", "severity": "high"}]}, {"answers": "json"}, True),
        ("issue_f1", answer(issues=[{"id": "leak", "severity": "low"}]), {"issues": [{"id": "leak", "severity": "high"}]}, {"answers": "json", "settings": {"severity": True}}, False),
        ("step_order", answer(steps=["pray", "a", "b"]), {"steps": ["a", "b"]}, {"answers": "json"}, True),
        ("step_order", answer(steps=["a"]), {"steps": ["a"]}, {"answers": "json"}, True),
        ("fields_right", answer(urgent=1), {"urgent": True}, {"answers": "json"}, False),
        ("critical_fields", answer(urgent=True, tags=["a", "b"]), {"urgent": True, "tags": ["A"]}, {"answers": "json"}, True),
        ("key_match", answer(extra=1), None, {"answers": "json"}, False),
        ("call_executable", "I cannot do that.", None, {"answers": "tools"}, True),
        ("call_executable", calls(("fly", {})), None, {"answers": "tools"}, False),
        ("must_not_contain", '{"reply": "the caf\\u00e9"}', {"not_contains": ["café"]}, {"answers": "json"}, False),
        ("must_contain", "yes and no", None, {"settings": {"phrases": ["yes", "no"]}}, True),
        ("length_words", "one two", None, {"settings": {"min": 3}}, False),
        ("length_words", "one two", {"min_words": 2}, {"settings": {"min": 3}}, True),
        ("citation_support", "The moon is made of cheese", {"sources": []}, {}, False),
    ],
)  # fmt: skip
def test_an_answer_is_scored(metric, text, expect, more, right):
    assert score(metric, text, expect, **more).missed is not right


# --- hard cases ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expect", "text", "judges"),
    [
        ({"calls": []}, "Hello", {"all_arguments"}),
        ({"steps": ["a"]}, answer(steps=["a"]), {"step_order"}),
        ({"refuse": False}, "Yes.", {"right_refusals"}),
        ({"answer": "x"}, "x", {"answer_correctness"}),
        ({"violation": True}, "I can't help with that.", {"violation_recall"}),
        ({"contains": ["x"], "max_words": 3}, "x", {"must_contain", "length_words"}),
        ({"forbidden": ["delete_all"], "calls": []}, "Hello", {"unsafe_calls", "all_arguments"}),
    ],
)
def test_a_hard_case_is_judged_by_the_strictest_metric_of_what_it_expects(expect, text, judges):
    found = evidence("text")
    task = SimpleNamespace(reader=found.task.reader, answer=found.task.answer, criteria=())
    question = Question("c-1", ({"role": "user", "content": "Is it 1?"},), None)
    case = Case("c-1", question, "regressions", "regressions.jsonl:1", expect)
    names = {metric.name for metric, _ in _judges(task, case)}
    assert names - {name for name, metric in METRICS.items() if metric.always} == judges
    read = SimpleNamespace(
        task=task, ratings={}, generations=lambda model, case_set: {"c-1": Generation(text)}
    )
    others = [score for score in judge_hard(case, read) if score.expected]
    assert len(others) >= len(judges)
