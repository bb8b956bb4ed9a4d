"""A store that machines share: what one built, another judges; whatever happens on the way, nothing is lost.

python -m pytest tests/test_remote_store.py
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from seatrial.training import choices, train_steps
from seatrial.training.errors import SeatrialError
from seatrial.training.exchange import LOG, open_store
from seatrial.training.progress import Silent
from seatrial.training.recipe import Recipe, load_recipe
from seatrial.training.remote_store import RemoteStore
from seatrial.training.store import MANIFEST, Artifact, Step, Store
from tests.children.remote_builder import FILES, content, step
from tests.conftest import MINIATURE, REPOSITORY
from tests.s3_remote import BUCKET, CREDENTIALS, SETTINGS, line, s3_server
from tests.verb import seatrial

URL = f"s3://{BUCKET}/seatrial"
TOTAL = sum(len(content("mine", number)) for number in range(FILES))


class Heard(Silent):
    def __init__(self):
        self.said = []

    def say(self, message):
        self.said.append(message)


@pytest.fixture(scope="module")
def server():
    with s3_server() as found:
        yield found


@pytest.fixture
def s3(server, monkeypatch):
    """The server with an empty bucket that may be read and written; its port is what S3 means here."""
    for name in [
        name for name in os.environ if name.startswith(("AWS_", "FSSPEC_", "SEATRIAL_STORE_REMOTE"))
    ]:
        monkeypatch.delenv(name)
    for name, value in {**CREDENTIALS, **SETTINGS}.items():
        monkeypatch.setenv(name, value)
    through(server.port, monkeypatch)
    server.forbid()
    for name in server.names():
        server.client.delete_object(Bucket=BUCKET, Key=name)
    return server


def through(port, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")


@pytest.fixture(params=["s3", "file", "memory"])
def url(request, tmp_path):
    if request.param == "s3":
        request.getfixturevalue("s3")
        return URL
    if request.param == "file":
        (tmp_path / "share").mkdir()
        return (tmp_path / "share").as_uri()
    return f"memory://{tmp_path.name}"


def build(root, url, text, heard=None, **changes):
    return open_store(root, heard, url).build(step(text))


def rows(root):
    path = root / "logs" / LOG
    return [json.loads(row) for row in path.read_text().splitlines()] if path.exists() else []


def total(root, what):
    return sum(row["bytes"] for row in rows(root) if row["what"] == what)


# --- what one built, another has -----------------------------------------------------------------------


def test_what_one_store_built_another_fetches_and_never_builds(url, tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    heard = Heard()
    made, came = build(one, url, "mine", heard), build(other, url, "-", heard)
    assert (made.built, came.built) == (True, False)
    assert made.digest == came.digest
    assert (came.path / "part-3.bin").read_bytes() == content("mine", 3)
    assert total(one, "sent") == total(other, "fetched") == TOTAL
    assert [row["seconds"] > 0 for row in rows(one) + rows(other)] == [True, True]
    sent, fetched = heard.said
    assert f"weights was sent to {url}: {TOTAL / 1e6:.1f} MB in " in sent
    assert f"weights came from {url}: {TOTAL / 1e6:.1f} MB in " in fetched
    assert not list((other / "tmp").iterdir())
    assert Store(other).build(step("-")).digest == made.digest  # and it is there without the remote


def test_a_warm_run_moves_nothing_and_asks_nothing(s3, tmp_path, monkeypatch):
    build(tmp_path, URL, "mine")
    through(1, monkeypatch)
    heard = Heard()
    assert not build(tmp_path, URL, "-", heard).built
    assert heard.said == []


def test_what_lay_in_the_store_before_it_had_a_remote_is_sent_when_it_is_used(s3, tmp_path):
    Store(tmp_path / "one").build(step("mine"))
    build(tmp_path / "one", URL, "-")
    assert build(tmp_path / "other", URL, "-").facts == {"text": "mine"}


def test_the_same_file_in_two_artifacts_is_sent_once(s3, tmp_path):
    store = open_store(tmp_path, None, URL)
    store.build(step("mine"))
    store.build(Step("again", 1, {}, {}, step("mine").build, heavy=False))
    assert total(tmp_path, "sent") == TOTAL
    assert len(s3.names("seatrial/files/")) == FILES
    assert len(s3.names("seatrial/artifacts/")) == 2


def test_what_is_of_one_machine_only_stays_there(s3, tmp_path):
    private = Step("timings", 1, {}, {}, lambda out, progress: {}, heavy=False, shared=False)
    heard = Heard()
    open_store(tmp_path / "one", heard, URL).build(private)
    assert not s3.names()
    assert open_store(tmp_path / "other", heard, URL).build(private).built
    assert seatrial("store", f"--store={tmp_path / 'one'}", f"--store-remote={URL}", "push").status == 0
    assert not s3.names()
    assert heard.said == []


# --- what another machine makes otherwise --------------------------------------------------------------


NOTHING = Artifact(Path(), {"key": "k", "files": {}, "facts": {}})


@pytest.fixture
def recipe():
    """It leaves the number type to the machine and asks for a backend that needs a GPU."""
    data = load_recipe(MINIATURE / "recipes" / "tiny-llama.toml").model_dump(exclude_none=True)
    data["trainer"]["compute_dtype"] = "auto"
    return Recipe.model_validate(data | {"backend": "unsloth"})


def machine(monkeypatch, installed, dtype):
    """This machine from now on: whether it has the backend's package, and what it multiplies natively."""
    monkeypatch.setattr(choices, "BACKENDS", {"trl": "", "unsloth": ""})
    monkeypatch.setattr(choices, "_installed", lambda module: installed)
    monkeypatch.setattr(train_steps, "resolve_dtype", lambda wanted: dtype)


def test_what_a_gpu_trained_is_taken_by_a_machine_that_could_not_train_it(recipe, tmp_path, monkeypatch):
    url = f"memory://{tmp_path.name}"
    machine(monkeypatch, True, "float16")
    there = train_steps.train_adapter(recipe, NOTHING, NOTHING)
    facts = {"backend": "unsloth", "compute_dtype": "float16"}
    open_store(tmp_path / "gpu", None, url).build(replace(there, build=lambda out, progress: facts))
    machine(monkeypatch, False, "float32")
    with pytest.raises(SeatrialError, match="unsloth"):
        train_steps.train_adapter(recipe, NOTHING, NOTHING)
    with pytest.raises(SeatrialError, match="unsloth"):
        train_steps.adapter_of(open_store(tmp_path / "cpu", None, f"{url}-empty"), recipe, NOTHING, NOTHING)
    heard = Heard()
    adapter = train_steps.adapter_of(open_store(tmp_path / "cpu", heard, url), recipe, NOTHING, NOTHING)
    assert (adapter.built, adapter.key) == (False, there.key)
    assert heard.said[-1] == "the adapter is another machine's, trained by unsloth in float16"
    again = train_steps.adapter_of(
        open_store(tmp_path / "cpu", None, f"{url}-empty"), recipe, NOTHING, NOTHING
    )
    assert again.key == there.key  # it lies here now


def test_what_this_machine_would_train_itself_comes_before_what_another_did(recipe, tmp_path, monkeypatch):
    url = f"memory://{tmp_path.name}"
    made = {}
    for dtype in ("float16", "float32"):
        machine(monkeypatch, True, dtype)
        step = train_steps.train_adapter(recipe, NOTHING, NOTHING)
        facts = {"backend": "unsloth", "compute_dtype": dtype}
        built = replace(step, build=lambda out, progress, facts=facts: facts)
        made[dtype] = open_store(tmp_path / dtype, None, url).build(built).key
    found = train_steps.adapter_of(open_store(tmp_path / "third", None, url), recipe, NOTHING, NOTHING)
    assert found.key == made["float32"] != made["float16"]


# --- damage --------------------------------------------------------------------------------------------


@pytest.fixture
def share(tmp_path):
    """A folder that machines share, which holds what one of them built."""
    folder = tmp_path / "share"
    folder.mkdir()
    build(tmp_path / "one", folder.as_uri(), "mine")
    return folder


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda data: data[:-1], "instead of"),
        (lambda data: data + b"x", "instead of"),
        (lambda data: bytes([data[0] ^ 1]) + data[1:], "another digest"),
        (None, "is gone"),
    ],
)
def test_a_file_that_is_not_what_was_sent_is_told_never_used_and_mended(share, tmp_path, change, told):
    file, url = max((share / "files").iterdir()), share.as_uri()
    if change:
        file.write_bytes(change(file.read_bytes()))
    else:
        file.unlink()
    heard = Heard()
    again = build(tmp_path / "other", url, "mine", heard)
    assert again.built
    assert f"{url}/files/{file.name}" in heard.said[0]
    assert told in heard.said[0] and "building weights here" in heard.said[0]
    assert not build(tmp_path / "third", url, "-").built  # what was built took the damaged one's place


def test_an_object_that_was_altered_is_told_never_used_and_mended(s3, tmp_path):
    build(tmp_path / "one", URL, "mine")
    name = max(s3.names("seatrial/files/"))
    s3.change(name, b"x" + s3.read(name)[1:])
    heard = Heard()
    assert build(tmp_path / "other", URL, "mine", heard).built
    assert "has another digest than when it was sent" in heard.said[0]
    assert not build(tmp_path / "third", URL, "-").built


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: b"",
        lambda manifest: json.dumps(manifest).encode()[:-9],
        lambda manifest: b"[1, 2]",
        lambda manifest: json.dumps(manifest | {"key": "0" * 32}).encode(),
        lambda manifest: json.dumps(manifest | {"params": {"number": 2}}).encode(),
        lambda manifest: json.dumps(manifest | {"facts": {"trained": "otherwise"}}).encode(),
        lambda manifest: with_name(manifest, "../../../outside"),
        lambda manifest: with_name(manifest, "/outside"),
        lambda manifest: with_name(manifest, "C:\\outside"),
        lambda manifest: with_name(manifest, MANIFEST),
    ],
)
def test_a_manifest_that_is_none_or_reaches_outside_is_told_and_replaced(share, tmp_path, change):
    (path,) = (share / "artifacts" / "weights").iterdir()
    path.write_bytes(change(json.loads(path.read_bytes())))
    heard = Heard()
    assert build(tmp_path / "other", share.as_uri(), "mine", heard).built
    assert "is not the manifest of weights" in heard.said[0]
    assert not list(tmp_path.rglob("outside"))
    assert not build(tmp_path / "third", share.as_uri(), "-").built


def with_name(manifest, name):
    first, *rest = manifest["files"].items()
    return json.dumps(manifest | {"files": {name: first[1], **dict(rest)}}).encode()


def test_a_local_file_that_was_damaged_is_fetched_and_told(share, tmp_path):
    path = build(tmp_path / "one", share.as_uri(), "-").path / "part-1.bin"
    path.write_bytes(b"damaged")
    heard = Heard()
    assert not build(tmp_path / "one", share.as_uri(), "-", heard).built
    assert "is damaged" in heard.said[0]
    assert path.read_bytes() == content("mine", 1)


# --- kills and cut connections -------------------------------------------------------------------------


def child(root, url, text, seconds=0.0):
    words = [sys.executable, "-m", "tests.children.remote_builder", root, url, text, seconds]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([str(word) for word in words], cwd=REPOSITORY, **pipes)


def killed_when(process, reached):
    assert reached.wait(30), process.communicate(timeout=5)
    time.sleep(0.2)
    process.kill()
    process.communicate(timeout=10)


def test_a_push_that_is_killed_is_never_seen_and_goes_on_where_it_was(s3, tmp_path, monkeypatch):
    one = tmp_path / "one"
    with line(s3, "up", int(TOTAL * 0.6), cut=False) as held:
        through(held.port, monkeypatch)
        killed_when(child(one, URL, "mine"), held.reached)
    through(s3.port, monkeypatch)
    assert not s3.names("seatrial/artifacts/")
    before = sum(s3.names("seatrial/files/").values())
    assert 0 < before < TOTAL
    heard = Heard()
    assert not build(one, URL, "-", heard).built  # nothing that was built is lost
    assert total(one, "sent") == TOTAL - before
    assert "lay there already" in heard.said[0]
    assert not build(tmp_path / "other", URL, "-").built


def test_a_fetch_that_is_killed_leaves_no_artifact_and_goes_on_where_it_was(s3, tmp_path, monkeypatch):
    build(tmp_path / "one", URL, "mine")
    other = tmp_path / "other"
    with line(s3, "down", int(TOTAL * 0.6), cut=False) as held:
        through(held.port, monkeypatch)
        killed_when(child(other, URL, "-"), held.reached)
    through(s3.port, monkeypatch)
    assert not list(other.glob(f"weights/*/{MANIFEST}"))
    assert not build(other, URL, "-").built
    assert 0 < total(other, "fetched") < TOTAL
    assert not list((other / "tmp").iterdir())


def test_a_connection_that_is_cut_in_a_push_costs_no_verdict_and_says_what_to_type(s3, tmp_path, monkeypatch):
    heard = Heard()
    with line(s3, "up", TOTAL // 2) as cut:
        through(cut.port, monkeypatch)
        store = open_store(tmp_path / "one", heard, URL)
        assert store.build(step("mine")).built
        assert store.build(Step("more", 1, {}, {}, lambda out, progress: {}, heavy=False)).built
    (told,) = heard.said
    assert told.startswith("NOT SENT: weights could not be sent")
    command = f"seatrial store --store={tmp_path / 'one'} --store-remote={URL} push"
    assert told.endswith(command)
    through(s3.port, monkeypatch)
    sent = seatrial(*command.split()[1:])
    assert sent.status == 0, sent.err
    assert "2 artifacts sent" in sent.out
    assert not build(tmp_path / "other", URL, "-").built


def test_a_connection_that_is_cut_in_a_fetch_is_told_once_and_all_is_built_here(s3, tmp_path, monkeypatch):
    build(tmp_path / "one", URL, "mine")
    heard = Heard()
    with line(s3, "down", TOTAL // 2) as cut:
        through(cut.port, monkeypatch)
        store = open_store(tmp_path / "other", heard, URL)
        assert store.build(step("mine")).built
        assert store.build(Step("more", 1, {}, {}, lambda out, progress: {}, heavy=False)).built
    (told,) = heard.said
    assert told.startswith("NOT FETCHED: weights cannot be fetched")
    assert not list((tmp_path / "other" / "tmp").iterdir())


def test_two_writers_of_one_key_are_safe_and_the_first_manifest_stays(s3, tmp_path):
    texts = ["mine", "yours"]
    writers = [child(tmp_path / text, URL, text, 0.5) for text in texts]
    outputs = [writer.communicate(timeout=50) for writer in writers]
    digests = [json.loads(out.splitlines()[-1])["digest"] for out, _ in outputs]
    assert digests[0] != digests[1]
    came = build(tmp_path / "third", URL, "-")
    assert came.digest in digests
    dropped = [err for digest, (_, err) in zip(digests, outputs, strict=True) if digest != came.digest]
    assert "which was there first: ours stays here" in dropped[0], outputs
    assert len(s3.names("seatrial/artifacts/")) == 1


def test_two_writers_of_the_same_content_say_nothing_of_it(s3, tmp_path):
    writers = [child(tmp_path / name, URL, "mine", 0.5) for name in ("a", "b")]
    outputs = [writer.communicate(timeout=50)[1] for writer in writers]
    assert not any("first" in said or "NOT SENT" in said for said in outputs), outputs
    assert not build(tmp_path / "third", URL, "-").built


# --- what is refused -----------------------------------------------------------------------------------


def test_a_remote_that_may_only_be_read_is_told_once_and_read_on(s3, tmp_path):
    build(tmp_path / "one", URL, "mine")
    s3.forbid("s3:PutObject")
    heard = Heard()
    store = open_store(tmp_path / "other", heard, URL)
    for name in ("first", "second"):
        store.build(Step(name, 1, {}, {}, lambda out, progress: {}, heavy=False))
    assert not store.build(step("-")).built
    assert [said.partition(":")[0] for said in heard.said] == ["NOT SENT", "weights came from s3"]
    assert "AccessDenied" in heard.said[0] or "Denied" in heard.said[0] or "Forbidden" in heard.said[0]


def test_a_push_that_is_refused_is_one_error_of_the_command(s3, tmp_path):
    Store(tmp_path).build(step("mine"))
    s3.forbid("s3:PutObject")
    said = seatrial("store", f"--store={tmp_path}", f"--store-remote={URL}", "push")
    assert said.status == 3
    assert "could not be sent" in said.err and "the same command goes on from here" in said.err


def require(url):
    """What is told at the start of a run."""
    with pytest.raises(SeatrialError) as raised:
        RemoteStore(url).require()
    return str(raised.value)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("bucket/seatrial", "is no URL of a folder"),
        ("s3://", "is no URL of a folder"),
        ("simplecache::s3://bucket/x", "is no URL of a folder"),
        ("s4://bucket/x", "s4:// is no kind of storage\n  did you mean s3://?"),
        ("gs://bucket/x", "python -m pip install gcsfs"),
        ("s3://absent-bucket/x", "NoSuchBucket"),
        ("file:///not/mounted", "is it mounted? mkdir -p /not/mounted"),
    ],
)
def test_a_url_that_cannot_be_used_is_one_error_with_what_to_do(s3, url, told):
    assert told in require(url)


def test_without_credentials_it_is_told_which_to_set(s3, monkeypatch, tmp_path):
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert "no credentials are set (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in require(URL)


def test_nobody_there_is_told_within_seconds(s3, monkeypatch):
    through(1, monkeypatch)
    started = time.monotonic()
    assert "the remote store cannot be read" in require(URL)
    assert time.monotonic() - started < 20


def test_no_credential_is_taken_from_a_url_or_said(s3, monkeypatch):
    told = require("sftp://me:hunter22@host/path")
    assert "hunter22" not in told and "me" not in told.partition("was given")[0].split("://")[1]
    assert "FSSPEC_SFTP_PASSWORD" in told
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:1/{CREDENTIALS['AWS_SECRET_ACCESS_KEY']}")
    assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in require(URL)


def test_credentials_are_in_nothing_that_is_kept(s3, tmp_path):
    build(tmp_path / "one", URL, "mine")
    build(tmp_path / "other", URL, "-")
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    kept += [s3.read(name) for name in s3.names()]
    for secret in CREDENTIALS.values():
        assert not [data for data in kept if secret.encode() in data]


def test_without_the_package_its_line_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    assert "needs fsspec\n  python -m pip install 'seatrial[remote]'" in require(URL)


# --- the commands --------------------------------------------------------------------------------------


def test_push_sends_what_is_whole_and_says_what_is_not(s3, tmp_path):
    store = Store(tmp_path)
    bad = store.build(step("mine")).path / "part-0.bin"
    bad.write_bytes(bytes(bad.stat().st_size))
    store.build(Step("more", 1, {"name": "lamp"}, {}, lambda out, progress: {}, heavy=False))
    said = seatrial("store", f"--store={tmp_path}", f"--store-remote={URL}", "push")
    assert "is damaged: part-0.bin has another digest" in said.out
    assert "1 artifact sent" in said.out
    listed = seatrial("store", f"--store-remote={URL}", "list", "--remote")
    assert "more" in listed.out and "lamp" in listed.out and "1 artifact, 0 B in" in listed.out
    found = json.loads(seatrial("store", f"--store-remote={URL}", "list", "--remote", "--json").out)
    assert [each["step"] for each in found["artifacts"]] == ["more"]
    again = seatrial("store", f"--store={tmp_path}", f"--store-remote={URL}", "push")
    assert "0 artifacts sent" in again.out and "1 artifact lay there already" in again.out


def test_push_without_a_remote_says_how_to_name_one(tmp_path, monkeypatch):
    monkeypatch.delenv("SEATRIAL_STORE_REMOTE", raising=False)
    Store(tmp_path)
    said = seatrial("store", f"--store={tmp_path}", "push")
    assert said.status == 3
    assert "no remote store is named" in said.err and "SEATRIAL_STORE_REMOTE" in said.err
