"""``seatrial store``: what is listed, what a prune is about, and what it never takes."""

import json
import os
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner
from filelock import FileLock

from seatrial.training import inventory, on_record
from seatrial.training.store import MANIFEST, SESSIONS, Artifact, Step, Store, seal_of
from seatrial.verbs.store import command
from seatrial.wording import age_of, seconds_of, size_of

DAY = 86400.0


@pytest.fixture
def root(tmp_path):
    return tmp_path / "store"


def build(root, name="gguf", number=0, size=1000, days=0.0):
    """An artifact that was last used ``days`` ago, by a run that is over."""

    def write(out, progress):
        (out / "lamp.gguf").write_bytes(os.urandom(size))
        return {"rows": number}

    path = Store(root).build(Step(name, 1, {"name": "lamp", "number": number}, {}, write, heavy=False)).path
    used = time.time() - days * DAY - 10
    os.utime(path / MANIFEST, (used, used))
    return path


def store(root, *words, status=0):
    done = CliRunner().invoke(command, ["--store", str(root), *words], catch_exceptions=False)
    assert done.exit_code == status, done.output
    return done.output


# --- path and list -------------------------------------------------------------------------------------
def test_path_is_that_of_the_environment_unless_it_is_named(root, tmp_path, monkeypatch):
    monkeypatch.setenv("SEATRIAL_STORE", str(tmp_path / "other"))
    assert store(root, "path").strip() == str(root)
    assert CliRunner().invoke(command, ["path"]).output.strip() == str(tmp_path / "other")
    assert not root.exists()


def test_a_store_that_is_not_there_yet_is_empty_and_is_not_made(root):
    assert "nothing is kept here" in store(root, "list")
    assert "nothing to remove" in store(root, "prune", "--yes")
    assert not root.exists()


def test_list_shows_step_key_size_age_and_what_it_is(root):
    path = build(root, days=3, number=7, size=1_000_000)
    row = next(line for line in store(root, "list").splitlines() if line.startswith("gguf"))
    assert path.name[:12] in row
    assert "3 days" in row
    assert "1.0 MB" in row
    assert "lamp" in row
    assert "7 rows" in row
    assert "1 artifact, 1.0 MB in" in store(root, "list")


def test_list_for_machines(root):
    build(root), build(root, "adapter")
    told = json.loads(store(root, "list", "--json"))
    assert [each["step"] for each in told["artifacts"]] == ["adapter", "gguf"]
    assert told["bytes"] == sum(each["bytes"] for each in told["artifacts"])
    assert len(json.loads(store(root, "list", "--json", "--step", "gguf"))["artifacts"]) == 1


def test_a_step_that_built_nothing_is_an_error_that_names_those_that_did(root):
    build(root)
    for verb in ("list", "prune"):
        assert "'gguff'; there are: gguf" in store(root, verb, "--step", "gguff", status=2)


def test_a_folder_that_is_no_store_is_refused(tmp_path):
    (tmp_path / "precious" / ("0" * 32)).mkdir(parents=True)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "seatrial",
            "store",
            "--store",
            str(tmp_path),
            "prune",
            "--keep-latest=0",
            "--yes",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3
    assert "is no store" in done.stderr
    assert (tmp_path / "precious" / ("0" * 32)).is_dir()


def break_manifest(path):
    (path / MANIFEST).write_text('{"key": ')


def remove_manifest(path):
    (path / MANIFEST).unlink()


def other_key(path):
    told = json.loads((path / MANIFEST).read_text()) | {"key": "f" * 32}
    (path / MANIFEST).write_text(json.dumps(told))


def edit_facts(path):
    told = json.loads((path / MANIFEST).read_text()) | {"facts": {"answers": 9}}
    (path / MANIFEST).write_text(json.dumps(told))


def lose_file(path):
    (path / "lamp.gguf").unlink()


def cut_file(path):
    (path / "lamp.gguf").write_bytes(b"GGUF")


DAMAGES = {
    break_manifest: "its manifest cannot be read",
    remove_manifest: "it has no manifest",
    other_key: f"it holds what {'f' * 32} is",
    edit_facts: "its manifest is not what was written",
    lose_file: "lamp.gguf is gone",
    cut_file: "lamp.gguf has another size",
}


@pytest.mark.parametrize(
    ("damage", "told"), DAMAGES.items(), ids=lambda value: getattr(value, "__name__", "")
)
def test_a_damaged_artifact_is_listed_as_such_and_pruned_without_a_rule(root, damage, told):
    whole, path = build(root, number=1), build(root, number=2)
    damage(path)
    assert f"damaged: {told}" in store(root, "list")
    assert "removed 1 artifact" in store(root, "prune", "--yes")
    assert (whole.exists(), path.exists()) == (True, False)


def test_hidden_characters_of_a_manifest_are_spelled_out(root):
    path = build(root)
    told = json.loads((path / MANIFEST).read_text())
    told["params"]["name"] = "lamp\x1b[2J\u202e"
    (path / MANIFEST).write_text(json.dumps(told | {"seal": seal_of(told)}))
    assert "lamp\\x1b[2J\\u202e" in store(root, "list")


# --- what a prune is about -----------------------------------------------------------------------------
def test_nothing_is_removed_without_yes(root):
    path = build(root, days=40)
    told = store(root, "prune", "--older-than", "30d")
    assert "would remove 1 artifact" in told
    assert "--yes" in told
    assert path.exists()


def test_without_a_rule_no_whole_artifact_goes(root):
    build(root, days=4000)
    assert "nothing to remove" in store(root, "prune", "--yes")


def test_older_than_takes_what_was_not_used_for_so_long(root):
    old, new = build(root, number=1, days=31), build(root, number=2, days=29)
    store(root, "prune", "--older-than", "30d", "--yes")
    assert (old.exists(), new.exists()) == (False, True)


def test_keep_latest_keeps_the_last_used_of_each_step(root):
    paths = [build(root, number=number, days=number) for number in (1, 2, 3)]
    other = build(root, "adapter", days=9)
    store(root, "prune", "--keep-latest", "2", "--yes")
    assert [path.exists() for path in (*paths, other)] == [True, True, False, True]


def test_rules_together_take_only_what_all_allow(root):
    paths = [build(root, number=number, days=number) for number in (1, 20, 40)]
    store(root, "prune", "--older-than", "30d", "--keep-latest", "3", "--yes")
    assert all(path.exists() for path in paths)
    store(root, "prune", "--older-than", "30d", "--keep-latest", "1", "--yes")
    assert [path.exists() for path in paths] == [True, True, False]


def test_a_step_can_be_named(root):
    gguf, adapter = build(root), build(root, "adapter")
    store(root, "prune", "--step", "gguf", "--yes")
    assert (gguf.exists(), adapter.exists()) == (False, True)


def report_on(root, folder, *paths):
    """A report of a run with this store that names the artifacts at ``paths``."""
    folder.mkdir()
    named = [{"key": path.name} for path in paths]
    (folder / "results.json").write_text(json.dumps({"artifacts": named}))
    on_record.note(root, folder / "results.json")
    return folder / "results.json"


def test_what_a_report_on_record_rests_on_stays_with_all_that_it_was_built_from(root, tmp_path):
    base = build(root, "base", days=40)
    digest = Artifact(base, json.loads((base / MANIFEST).read_text())).digest
    step = Step("merged", 1, {}, {"base": digest}, lambda out, progress: (out / "m").write_text("m") and {})
    merged = Store(root).build(step).path
    alone = build(root, "gguf", 1, days=40)
    os.utime(merged / MANIFEST, (1, 1))
    report = report_on(root, tmp_path / "run", merged)
    told = store(root, "prune", "--older-than", "30d", "--yes")
    assert told.count(f"{report} rests on it; delete that report to let it go") == 2
    assert base.exists() and merged.exists() and not alone.exists()
    report.unlink()
    store(root, "prune", "--older-than", "30d", "--yes")
    assert not base.exists() and not merged.exists()


def test_unreported_takes_all_that_no_report_rests_on(root, tmp_path):
    named, other = build(root), build(root, number=1)
    report_on(root, tmp_path / "run", named)
    store(root, "prune", "--unreported", "--yes")
    assert named.exists() and not other.exists()


def test_a_run_leaves_its_report_with_the_store(gate):
    run = gate()
    told = store(gate.store, "prune", "--unreported", "--yes")
    assert "prune" not in run.output and run.folder is not None
    found = inventory.entries(gate.store)
    held = on_record.rests_on(gate.store, found)
    assert {entry.key for entry in found} >= {each["key"] for each in run.results["artifacts"]} != set()
    assert held.keys() >= {each["key"] for each in run.results["artifacts"]}
    assert "would remove" not in told


@pytest.mark.parametrize("broken", ["{", "[]", '{"artifacts": 1}', '{"artifacts": [{"no": 1}]}'])
def test_a_report_that_cannot_be_read_holds_nothing_and_is_no_error(root, tmp_path, broken):
    path = build(root)
    report_on(root, tmp_path / "run", path).write_text(broken)
    store(root, "prune", "--unreported", "--yes")
    assert not path.exists()


def test_to_size_takes_the_longest_unused_until_it_fits(root):
    paths = [build(root, number=n, size=100_000, days=n) for n in range(4)]
    store(root, "prune", "--to-size", "250kB", "--yes")
    assert [path.exists() for path in paths] == [True, True, False, False]
    store(root, "prune", "--to-size", "1GB", "--yes")
    assert paths[1].exists()


def test_to_size_goes_past_what_must_stay(root, tmp_path):
    paths = [build(root, number=n, size=100_000, days=n) for n in range(4)]
    report_on(root, tmp_path / "run", paths[3])
    told = store(root, "prune", "--to-size", "250kB", "--yes")
    assert "rests on it" in told
    assert [path.exists() for path in paths] == [True, False, False, True]


def test_what_is_no_size_is_told(root):
    assert "is no size: a number with a unit, such as 20GB" in store(
        root, "prune", "--to-size", "big", status=2
    )


@pytest.mark.parametrize("text", ["30", "30 parsecs", "-1d", ""])
def test_what_is_no_duration_is_told(root, text):
    assert "is no duration" in store(root, "prune", "--older-than", text, status=2)


def test_using_an_artifact_makes_it_young_again(root):
    path = build(root, days=40)
    build_again = Store(root)
    build_again.build(Step("gguf", 1, {"name": "lamp", "number": 0}, {}, None, heavy=False))
    del build_again
    assert "nothing to remove" in store(root, "prune", "--older-than", "30d", "--yes")
    assert path.exists()


def test_what_has_another_name_elsewhere_frees_nothing(root, tmp_path):
    path = build(root, size=1_000_000)
    (tmp_path / "users.gguf").hardlink_to(path / "lamp.gguf")
    assert "1 artifact and 0 leftovers, 1.0 MB" not in store(root, "prune", "--step", "gguf")
    (tmp_path / "users.gguf").unlink()
    assert "1 artifact and 0 leftovers, 1.0 MB" in store(root, "prune", "--step", "gguf")


# --- what is in use ------------------------------------------------------------------------------------
def test_what_a_run_that_is_going_on_has_used_stays(root):
    other = build(root, number=1, days=40)
    run = Store(root)
    path = run.build(Step("gguf", 1, {"number": 2}, {}, lambda out, _: {}, heavy=False)).path
    told = store(root, "prune", "--keep-latest", "0", "--yes")
    assert f"kept gguf {path.name[:12]}: a run that is going on uses it" in told
    assert (path.exists(), other.exists()) == (True, False)
    del run
    store(root, "prune", "--keep-latest", "0", "--yes")
    assert not path.exists()


def test_a_run_that_was_killed_uses_nothing(root):
    code = (
        "import os, signal, sys; from pathlib import Path; from seatrial.training.store import Step, Store\n"
        "run = Store(Path(sys.argv[1])); run.build(Step('gguf', 1, {}, {}, lambda out, _: {}, heavy=False))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(root)], check=False)
    assert len(list((root / SESSIONS).iterdir())) == 1
    told = store(root, "prune", "--keep-latest", "0", "--yes")
    assert "removed 1 artifact and 1 leftover," in told
    assert not list((root / SESSIONS).iterdir())


def test_a_run_that_ends_leaves_no_lock_behind(root):
    build(root)
    assert not list((root / SESSIONS).iterdir())


def test_what_is_being_built_stays_with_its_half_built_files(root):
    path = build(root)
    half = root / "tmp" / f"{path.name}-12345678"
    half.mkdir()
    with FileLock(root / "locks" / f"{path.name}.lock"):
        assert "it is being built" in store(root, "prune", "--keep-latest", "0", "--yes")
        assert (path.exists(), half.exists()) == (True, True)
    store(root, "prune", "--keep-latest", "0", "--yes")
    assert (path.exists(), half.exists()) == (False, False)


def test_what_came_into_use_after_it_was_listed_stays(root):
    path = build(root)
    [entry] = inventory.entries(root)
    run = Store(root)
    run.build(Step("gguf", 1, {"name": "lamp", "number": 0}, {}, None, heavy=False))
    assert inventory.remove(root, entry) == "a run that is going on uses it"
    assert path.exists()
    del run
    assert inventory.remove(root, entry) == ""
    assert inventory.remove(root, entry) == ""  # somebody else was faster


def test_leftovers_of_killed_runs_go(root):
    build(root)
    (root / "tmp" / f"{'a' * 32}-12345678").mkdir()
    (root / "tmp" / f"{'a' * 32}-12345678" / "half.gguf").write_bytes(b"GGUF")
    (root / "tmp" / "probe-1").write_bytes(b"")
    (root / "logs" / "ollama-xyz").mkdir()
    assert "3 leftovers" in store(root, "list")
    assert "removed 0 artifacts and 3 leftovers" in store(root, "prune", "--yes")
    assert not list((root / "tmp").iterdir())


def test_a_leftover_without_a_key_stays_while_a_run_goes_on(root):
    run = Store(root)
    run.build(Step("gguf", 1, {}, {}, lambda out, _: {}, heavy=False))
    (root / "logs" / "ollama-xyz").mkdir()
    store(root, "prune", "--yes")
    assert (root / "logs" / "ollama-xyz").exists()
    del run
    store(root, "prune", "--yes")
    assert not (root / "logs" / "ollama-xyz").exists()


def test_a_pruned_artifact_is_built_again(root):
    path = build(root)
    store(root, "prune", "--step", "gguf", "--yes")
    assert build(root) == path
    assert (path / "lamp.gguf").is_file()


def test_links_in_a_store_are_not_followed(root, tmp_path):
    build(root)
    (tmp_path / "precious" / ("b" * 32)).mkdir(parents=True)
    (root / "linked").symlink_to(tmp_path / "precious")
    store(root, "prune", "--keep-latest", "0", "--yes")
    assert (tmp_path / "precious" / ("b" * 32)).is_dir()


# --- words ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1500, "1.5 kB"),
        (99_949, "100 kB"),
        (105_400_000, "105 MB"),
        (2e12, "2.0 TB"),
    ],
)
def test_sizes_are_in_decimal_units(count, text):
    assert size_of(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "now"), (60, "1 minute"), (7200, "2 hours"), (DAY, "1 day"), (800 * DAY, "2 years")],
)
def test_ages_are_in_the_largest_whole_unit(seconds, text):
    assert age_of(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"), [("90m", 5400), ("12h", 43200), ("30d", 30 * DAY), ("1.5w", 10.5 * DAY)]
)
def test_durations_have_a_unit(text, seconds):
    assert seconds_of(text) == seconds
