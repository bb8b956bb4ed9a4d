"""The store: everything dear is built once, and neither kills, damage nor full disks cost more than a step.

python -m pytest tests/test_store.py
"""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from seatrial.training.errors import SeatrialError
from seatrial.training.progress import Silent
from seatrial.training.store import MANIFEST, Step, Store, default_root, file_digest
from tests.children.builder import note, signs, step, wait_for

REPOSITORY = Path(__file__).resolve().parents[1]
LONG = 30


class Builder:
    """Writes one file, and counts how often it had to."""

    def __init__(self, text="made", error=None):
        self.text, self.error, self.times = text, error, 0

    def __call__(self, out, progress):
        self.times += 1
        (out / "sub").mkdir()
        (out / "sub" / "result.txt").write_text(self.text, encoding="utf-8")
        if self.error:
            raise self.error
        return {"length": len(self.text)}


class Heard(Silent):
    """Keeps what it is told."""

    def __init__(self):
        self.said, self.steps = [], []

    def say(self, message):
        self.said.append(message)

    def start(self, step):
        self.steps.append(("start", step))

    def finish(self, step, seconds):
        self.steps.append(("finish", step))


@pytest.fixture
def root(tmp_path):
    return tmp_path / "store"


def never(out, progress):
    pytest.fail("this step is in the store and must not be built again")


def artifact_folders(root):
    return sorted(path.parent for path in root.glob(f"*/*/{MANIFEST}") if path.parts[-3] != "tmp")


def in_hand(root):
    return list((root / "tmp").iterdir())


# --- built once ----------------------------------------------------------------------------------------


def test_a_step_is_built_once_by_one_store_and_by_the_next(root):
    builder, store = Builder(), Store(root)
    first = store.build(step("one", builder))
    again = store.build(step("one", builder))
    later = Store(root).build(step("one", never))
    assert builder.times == 1
    assert first.path == again.path == later.path
    assert (first.built, later.built) == (True, False)
    assert (later.path / "sub" / "result.txt").read_text(encoding="utf-8") == "made"


def test_the_manifest_records_what_decided_the_result_and_what_came_out(root):
    made = step("one", Builder("four"), version=3, params={"a": 1}, inputs={"rows": "beef"})
    manifest = json.loads((Store(root).build(made).path / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["key"] == made.key
    assert manifest["step"] == "one"
    assert manifest["version"] == 3
    assert manifest["params"] == {"a": 1}
    assert manifest["inputs"] == {"rows": "beef"}
    assert manifest["facts"] == {"length": 4}
    digest = "04efaf080f5a3e74e1c29d1ca6a48569382cbbcd324e8d59d2b83ef21c039f00"  # printf four | sha256sum
    assert manifest["files"] == {"sub/result.txt": {"sha256": digest, "bytes": 4}}
    assert manifest["packages"]["gguf"] == version("gguf")
    assert manifest["seconds"] >= 0


@pytest.mark.parametrize(
    "changed",
    [{"params": {"rate": 2}}, {"inputs": {"base": "other"}}, {"version": 2}],
    ids=["parameter", "input", "version"],
)
def test_a_changed_part_builds_anew_and_leaves_the_old_artifact(root, changed):
    usual = {"params": {"rate": 1}, "inputs": {"base": "this"}, "version": 1}
    old = Store(root).build(step("one", Builder("old"), **usual))
    new = Store(root).build(step("one", Builder("new"), **(usual | changed)))
    assert (new.path / "sub" / "result.txt").read_text(encoding="utf-8") == "new"
    assert Store(root).build(step("one", never, **usual)).path == old.path != new.path


def test_an_artifact_s_digest_is_that_of_its_files_and_not_of_how_they_were_made(root):
    store = Store(root)
    same = [store.build(step("one", Builder(), version=version)).digest for version in (1, 2)]
    assert same[0] == same[1] != store.build(step("one", Builder("else"), version=3)).digest


def test_progress_hears_the_title_of_what_is_built_and_nothing_of_what_is_there(root):
    heard = Heard()
    titled = step("one", Builder(), title="the first one")
    for _ in range(2):
        Store(root, heard).build(titled)
    assert heard.steps == [("start", "the first one"), ("finish", "the first one")]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
PARAMS = st.dictionaries(st.text(max_size=8), JSON, max_size=4)
DIGESTS = st.dictionaries(st.text(max_size=8), st.text("0123456789abcdef", max_size=8), max_size=4)
PARTS = st.fixed_dictionaries(
    {"name": st.text(max_size=8), "version": st.integers(), "params": PARAMS, "inputs": DIGESTS}
)


def key_of(parts):
    return Step(build=never, **parts).key


@given(parts=PARTS, other=PARTS, part=st.sampled_from(["name", "version", "params", "inputs"]))
@settings(deadline=None)
def test_the_key_depends_on_every_part(parts, other, part):
    assume(parts[part] != other[part])
    assert key_of(parts) != key_of(parts | {part: other[part]})


def _backwards(value):
    if isinstance(value, dict):
        return {key: _backwards(inner) for key, inner in reversed(value.items())}
    return [_backwards(inner) for inner in value] if isinstance(value, list) else value


@given(parts=PARTS)
@settings(deadline=None)
def test_the_key_does_not_depend_on_the_order_of_keys(parts):
    turned = {part: _backwards(value) for part, value in parts.items()}
    assert key_of(turned) == key_of(parts)


# --- failures ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("bad"), SeatrialError("bad"), KeyboardInterrupt("bad")])
def test_a_builder_that_raises_leaves_nothing_and_a_later_build_works(root, error):
    with pytest.raises(type(error), match="bad"):
        Store(root).build(step("one", Builder(error=error)))
    assert artifact_folders(root) == in_hand(root) == []
    builder = Builder()
    assert Store(root).build(step("one", builder)).built
    assert builder.times == 1


def test_a_failed_step_fails_again_at_once_in_the_same_run(root):
    builder, store = Builder(error=SeatrialError("no such weights")), Store(root)
    for _ in range(3):
        with pytest.raises(SeatrialError, match="no such weights"):
            store.build(step("one", builder))
    assert builder.times == 1


def test_a_flipped_byte_is_found_told_and_mended(root):
    whole = Store(root).build(step("one", Builder("made")))
    damaged = whole.path / "sub" / "result.txt"
    damaged.write_text("mode", encoding="utf-8")
    heard, builder = Heard(), Builder("made")
    mended = Store(root, heard).build(step("one", builder))
    assert builder.times == 1
    assert mended.built
    assert damaged.read_text(encoding="utf-8") == "made"
    assert str(damaged) in heard.said[0]
    assert "damaged" in heard.said[0]
    assert "building one again" in heard.said[0]


def test_the_result_of_another_step_under_this_ones_key_is_found_and_built_again(root):
    """Such as the answers of another file, copied into the place of this one's with their manifest."""
    mine, other = (Step("answers", 1, {"file": text}, {}, Builder(text)) for text in ("mine", "other"))
    places = [Store(root).build(each).path for each in (mine, other)]
    shutil.rmtree(places[0])
    shutil.copytree(places[1], places[0])
    heard = Heard()
    again = Store(root, heard).build(mine)
    assert (again.path / "sub" / "result.txt").read_text(encoding="utf-8") == "mine"
    assert "damaged (it holds what" in heard.said[0]
    assert len(heard.said) == 1, "told once"


@pytest.mark.parametrize("part", ["facts", "params", "inputs", "packages", "version"])
def test_a_manifest_that_was_edited_is_found_told_and_built_again(root, part):
    """Such as an answer that is a fact: no file's digest would tell."""
    made = step("one", Builder(), params={"rate": 1}, inputs={"base": "a"})
    path = Store(root).build(made).path / MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(
        json.dumps(manifest | {part: 9 if part == "version" else {"length": 9}}), encoding="utf-8"
    )
    heard = Heard()
    assert Store(root, heard).build(made).facts == {"length": 4}
    assert f"{path} is damaged (its seal is broken)" in heard.said[0]


def test_a_manifest_from_before_there_were_seals_stays_valid(root):
    path = Store(root).build(step("one", Builder())).path / MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8"))
    del manifest["seal"]
    path.write_text(json.dumps(manifest), encoding="utf-8")
    assert not Store(root).build(step("one", never)).built


def test_facts_whose_keys_json_spells_otherwise_are_no_edit(root):
    made = Step("one", 1, {}, {}, lambda out, progress: {"by_length": {10: 1, 9: 2}, "pair": (1, 2)})
    assert Store(root).build(made).facts == {"by_length": {"10": 1, "9": 2}, "pair": [1, 2]}
    assert not Store(root).build(made).built


def test_a_missing_file_is_found_and_built_again(root):
    whole = Store(root).build(step("one", Builder()))
    (whole.path / "sub" / "result.txt").unlink()
    assert Store(root).build(step("one", Builder())).built
    assert Store(root).build(step("one", never)).path == whole.path


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b'{"key": "abc", "fil',
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'{"files": null}',
        b'{"files": {"a": {}}}',
    ],
    ids=["empty", "truncated", "no-text", "null", "list", "no-keys", "no-files", "no-digest"],
)
def test_an_artifact_with_an_invalid_manifest_counts_as_absent(root, text):
    (Store(root).build(step("one", Builder())).path / MANIFEST).write_bytes(text)
    assert Store(root).build(step("one", Builder())).built
    assert not Store(root).build(step("one", never)).built


def test_a_folder_without_a_manifest_does_not_exist(root):
    (Store(root).build(step("one", Builder())).path / MANIFEST).unlink()
    assert Store(root).build(step("one", Builder())).built


# --- kills and other processes -------------------------------------------------------------------------


def start(root, *arguments):
    command = [sys.executable, "-m", "tests.children.builder", str(root), *arguments]
    return subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)


def finish(*processes):
    for process in processes:
        _, told = process.communicate(timeout=LONG)
        assert process.returncode == 0, told


def diary(root):
    path = signs(root) / "diary"
    return path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []


def test_a_killed_builder_loses_only_the_step_in_hand(root):
    process = start(root, "hang", "second")
    wait_for(signs(root) / "second.inside")
    process.kill()
    process.communicate(timeout=LONG)
    assert [folder.parent.name for folder in artifact_folders(root)] == ["before"]
    assert in_hand(root), "the killed builder left its folder"

    store = Store(root)
    assert not store.build(step("before", never)).built
    assert store.build(step("second", Builder())).built
    assert in_hand(root) == []
    assert (store.build(step("second", never)).path / "sub" / "result.txt").is_file()


def test_two_processes_that_want_the_same_step_build_it_once(root):
    finish(start(root, "same", "anna", "ben"), start(root, "same", "ben", "anna"))
    assert len(diary(root)) == 2, "one begin and one end"
    assert (Store(root).build(step("same", never)).path / "whole.txt").is_file()


def test_heavy_steps_of_two_processes_never_overlap(root):
    finish(start(root, "heavy", "anna", "ben"), start(root, "heavy", "ben", "anna"))
    words = [line.split() for line in diary(root)]
    assert [word for word, _ in words] == ["begin", "end", "begin", "end"]
    assert words[0][1] == words[1][1] != words[2][1] == words[3][1]


def test_light_steps_of_two_processes_run_side_by_side(root):
    # Each waits inside its builder until the other is inside, too.
    finish(start(root, "meet", "anna", "ben"), start(root, "meet", "ben", "anna"))
    assert sorted(diary(root)) == ["begin anna", "begin ben", "end anna", "end ben"]


def test_a_step_waits_for_the_process_that_builds_it(root):
    process = start(root, "same", "anna")
    wait_for(signs(root) / "anna.inside")
    artifact = Store(root).build(step("same", never))
    note(root, "handed out")
    finish(process)
    assert diary(root) == ["begin anna", "end anna", "handed out"]
    assert not artifact.built


# --- stores that cannot be written ---------------------------------------------------------------------


def no_space(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("below", ["", "sub", "sub/deeper"])
def test_a_store_below_a_regular_file_is_an_error_that_names_the_option(tmp_path, below):
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    root = tmp_path / "file" / below
    with pytest.raises(SeatrialError) as caught:
        Store(root)
    message = str(caught.value)
    assert message.startswith(f"{root}: cannot prepare the store: ")
    assert "--store=DIR" in message
    assert "SEATRIAL_STORE" in message


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EPERM], ids=lambda n: errno.errorcode[n])
def test_a_store_that_may_not_be_written_is_an_error_that_names_the_option(root, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(SeatrialError, match=os.strerror(number)) as caught:
        Store(root)
    assert "--store=DIR" in str(caught.value)


def test_a_full_disk_while_building_names_the_option_and_keeps_what_was_built(root):
    Store(root).build(step("before", Builder()))
    with pytest.raises(SeatrialError) as caught:
        Store(root).build(step("one", no_space))
    message = str(caught.value)
    assert message.startswith(f"{root}: no space left to build one; finished artifacts are untouched")
    assert "--store=DIR" in message
    assert in_hand(root) == []
    assert not Store(root).build(step("before", never)).built
    assert Store(root).build(step("one", Builder())).built


def test_a_full_disk_while_the_manifest_is_written_leaves_no_artifact(root, monkeypatch):
    write = Path.write_text

    def write_but_no_manifest(path, *arguments, **options):
        return no_space() if path.name == MANIFEST else write(path, *arguments, **options)

    store, builder = Store(root), Builder()
    store.build(step("before", Builder()))
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", write_but_no_manifest)
        with pytest.raises(SeatrialError, match="no space left to build one"):
            store.build(step("one", builder))
    assert [folder.parent.name for folder in artifact_folders(root)] == ["before"]
    assert in_hand(root) == []
    assert Store(root).build(step("one", builder)).built


def test_a_full_disk_while_the_store_is_prepared_names_the_option(root, monkeypatch):
    monkeypatch.setattr(Path, "write_bytes", no_space)
    with pytest.raises(SeatrialError, match=r"no space left to prepare the store(.|\n)*--store=DIR"):
        Store(root)


def test_other_errors_of_the_system_are_not_taken_for_the_store_s(root):
    def lose(out, progress):
        (out / "nothing").read_bytes()

    with pytest.raises(FileNotFoundError):
        Store(root).build(step("one", lose))


# --- where it lies -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SEATRIAL_STORE": "/a/store", "XDG_CACHE_HOME": "/b/cache"}, "/a/store"),
        ({"XDG_CACHE_HOME": "/b/cache"}, "/b/cache/seatrial"),
        ({"SEATRIAL_STORE": "", "XDG_CACHE_HOME": ""}, "/home/me/.cache/seatrial"),
        ({}, "/home/me/.cache/seatrial"),
    ],
)
def test_the_default_place_follows_the_environment(monkeypatch, environment, expected):
    for name in ("SEATRIAL_STORE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert default_root() == Path(expected)


def test_a_relative_root_does_not_move_with_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store(Path("relative"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert store.build(step("one", Builder())).path.is_relative_to(tmp_path / "relative")


def test_a_store_leaves_no_probe_behind(root):
    Store(root)
    assert in_hand(root) == []


def test_file_digest_is_the_sha256_of_the_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, example B.1
    assert file_digest(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_building_takes_the_seconds_that_the_manifest_says(root):
    def build(out, progress):
        time.sleep(0.1)
        return {}

    assert 0.1 <= Store(root).build(step("one", build)).manifest["seconds"] < 5
