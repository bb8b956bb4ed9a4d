"""Base weights from the hub, asked of a hub on loopback by the real client.

python -m pytest tests/test_hub.py
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from seatrial.training import hub_source, steps
from seatrial.training.base import link
from seatrial.training.errors import SeatrialError
from seatrial.training.hub_errors import explain
from seatrial.training.process import python_path
from seatrial.training.recipe import Base, load_recipe
from seatrial.training.store import Artifact, Store, default_root
from tests.conftest import MINIATURE, REPOSITORY
from tests.hub_server import Hub, Repository, folder_files, serving, unused_port
from tests.test_end_to_end import release

NAME = "seatrial/tiny-llama"
TOKEN = "hf_aTokenThatMustNotBeSeenAnywhere"
SETTINGS = ("HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HOME", "HF_ENDPOINT", "NO_PROXY")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


class Told:
    """Progress that keeps what it is told."""

    def __init__(self):
        self.lines, self.updates = [], []

    def start(self, step):
        pass

    def finish(self, step, seconds):
        pass

    def say(self, message):
        self.lines.append(message)

    def update(self, done, total, **facts):
        self.updates.append((done, total))

    @property
    def text(self):
        return "\n".join(self.lines)


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> dict[str, bytes]:
    """The files of a Llama of two layers with a real tokenizer."""
    out = tmp_path_factory.mktemp("hub-model") / "tiny"
    tokenizer = Store(default_root()).build(steps.import_base(load_recipe("smollm2-135m-cpu"))).path
    script = str(MINIATURE / "make_base.py")
    subprocess.run([sys.executable, script, str(tokenizer), str(out)], check=True, cwd=REPOSITORY)
    return folder_files(out)


@pytest.fixture
def hub(tmp_path, monkeypatch, model):
    """A hub with the model, and an environment that knows no other."""
    for name in (*SETTINGS, *PROXIES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "no-token"))
    repository = Repository()
    repository.push(model)
    with serving(Hub({NAME: repository})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def imported(tmp_path, told, monkeypatch):
    """Fetches the base that a recipe names from the hub into a store.

    Whether transformers can load it takes seconds to find out; :func:`test_the_whole_path` does.
    """
    real = hub_source.run_job

    def run_job(job, request, out, *more, **settings):
        if job != "import_weights":
            return real(job, request, out, *more, **settings)
        link(request["files"], out)
        return {}

    monkeypatch.setattr(hub_source, "run_job", run_job)

    def run(revision: str = "main", repository: str = NAME) -> Artifact:
        base = Base(model=NAME, license="none", source="hub", repository=repository, revision=revision)
        recipe = load_recipe("smollm2-135m-cpu").model_copy(update={"base": base})
        store = Store(tmp_path / "store", told)
        return store.build(steps.import_base(recipe, store.root, store.progress.say))

    return run


@pytest.fixture
def refused(imported):
    """The error that an import ends in; it is one of ours, and was expected."""

    def run(*arguments: str, **more: str) -> str:
        with pytest.raises(SeatrialError) as caught:
            imported(*arguments, **more)
        assert "Traceback" not in str(caught.value)
        assert "traceback" not in str(caught.value)
        assert "\n  " in str(caught.value), "no word on what to type next"
        return str(caught.value)

    return run


def commit_of(hub: Hub, revision: str = "main") -> str:
    return hub.repositories[NAME].revisions[revision]


def test_a_branch_is_fetched_and_pinned(hub, imported, told, model):
    found = imported("main")
    commit = commit_of(hub)
    assert found.manifest["inputs"] == {"weights": f"commit {commit}"}
    assert found.facts == {"repository": NAME, "revision": "main", "commit": commit}
    assert {path.name for path in found.path.iterdir()} == {*model, "manifest.json"}
    assert all((found.path / name).read_bytes() == data for name, data in model.items())
    assert told.updates[-1][0] <= told.updates[-1][1] == sum(map(len, model.values()))


def test_nothing_is_copied(hub, imported, tmp_path):
    weights = imported().path / "model.safetensors"
    cached = next((tmp_path / "cache").rglob("model.safetensors")).resolve()
    assert weights.samefile(cached)


def test_a_commit_that_the_store_holds_is_asked_for_nowhere(hub, imported):
    imported(commit_of(hub))
    hub.asked.clear()
    assert not imported(commit_of(hub)).built
    assert hub.asked == []


def test_a_branch_that_moved_is_another_artifact_and_is_told(hub, imported, told, model):
    first = imported()
    hub.repositories[NAME].push({**model, "LICENSE": b"another one"})
    second = imported()
    assert second.key != first.key
    assert (second.path / "LICENSE").read_bytes() == b"another one"
    assert f"it was commit {first.facts['commit'][:12]}" in told.text


def test_offline_a_branch_is_what_it_was_and_that_is_said(hub, imported, told, monkeypatch, model):
    first = imported()
    hub.repositories[NAME].push({**model, "LICENSE": b"another one"})
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.asked.clear()
    again = imported()
    assert (again.key, again.built, hub.asked) == (first.key, False, [])
    assert f"taken for commit {first.facts['commit']}, as the store has it" in told.text


def test_offline_the_cache_does_for_an_empty_store(hub, imported, told, monkeypatch, tmp_path):
    first = imported(commit_of(hub))
    shutil.rmtree(tmp_path / "store")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    again = imported(commit_of(hub))
    assert again.built
    assert again.digest == first.digest
    assert "is taken from its cache" in told.text


def test_without_a_connection_a_commit_comes_from_the_cache(hub, imported, told, monkeypatch, tmp_path):
    first = imported(commit_of(hub))
    shutil.rmtree(tmp_path / "store")
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{unused_port()}")
    assert imported(first.facts["commit"]).digest == first.digest
    assert "no connection to the hub" in told.text


def test_without_a_connection_a_branch_is_not_guessed(hub, imported, refused, monkeypatch):
    commit = imported().facts["commit"]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{unused_port()}")
    told = refused()
    assert "no connection to http://127.0.0.1" in told
    assert f"HF_HUB_OFFLINE=1 takes commit {commit}" in told


@pytest.mark.parametrize("revision", ["main", "0" * 40])
def test_offline_and_unknown(hub, refused, monkeypatch, revision):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "offline (HF_HUB_OFFLINE is set)" in refused(revision)
    assert hub.asked == []


def test_no_connection_at_all(hub, refused, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{unused_port()}")
    assert "look at the network" in refused()


def test_a_proxy_that_is_not_there(hub, refused, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@127.0.0.1:{unused_port()}")
    told = refused()
    assert "environment variable HTTP_PROXY" in told
    assert "secret" not in told


def test_an_endpoint_that_is_no_address(hub, refused, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "hub.example")
    assert "unset HF_ENDPOINT" in refused()


@pytest.mark.parametrize(
    ("token", "granted", "says"),
    [
        (None, False, "accept its terms at {url}/seatrial/tiny-llama, then export HF_TOKEN="),
        (TOKEN, False, "ask for access at {url}/seatrial/tiny-llama, with that account"),
    ],
)
def test_a_gated_repository(hub, refused, monkeypatch, token, granted, says):
    hub.repositories[NAME] = Repository(
        hub.repositories[NAME].commits, hub.repositories[NAME].revisions, TOKEN, gated=True, granted=granted
    )
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    for revision in ("main", commit_of(hub)):
        told = refused(revision)
        assert "a gated repository" in told
        assert says.format(url=hub.url) in told
        assert TOKEN not in told


def test_a_private_repository_without_its_token(hub, refused):
    hub.repositories[NAME].token = TOKEN
    assert "for a private one: export HF_TOKEN=" in refused()


def test_a_token_that_the_hub_does_not_know(hub, refused, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_mistypedmistyped")
    told = refused()
    assert "the hub does not accept the given token" in told
    assert "mistypedmistyped" not in told


def test_the_token_opens_a_repository_and_is_written_nowhere(hub, imported, monkeypatch, tmp_path, told):
    hub.repositories[NAME].token = TOKEN
    hub.repositories[NAME].gated = hub.repositories[NAME].granted = True
    hub.cut["tokenizer.json"] = [100]  # the client's warnings go to the log, too
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    imported()
    written = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert any(path.suffix == ".log" for path in written)
    assert not [path for path in written if TOKEN.encode() in path.read_bytes()]
    assert TOKEN not in told.text


def test_no_such_repository(hub, refused):
    told = refused(repository="seatrial/tiny-lama")
    assert "no such model repository, or a private one" in told
    assert f"{hub.url}/seatrial/tiny-lama" in told


@pytest.mark.parametrize("revision", ["v9", "f" * 40])
def test_no_such_revision(hub, refused, revision):
    told = refused(revision)
    assert f"has no revision {revision!r}" in told
    assert "/commits/main" in told


@pytest.mark.parametrize(
    ("status", "says"),
    [(503, "out of order"), (429, "wait some minutes"), (407, "NO_PROXY"), (403, "no right")],
)
def test_a_hub_that_refuses(hub, refused, status, says):
    hub.status = status
    assert says in refused()


def test_a_connection_that_breaks_off_goes_on_where_it_was(hub, imported, model):
    assert len(model["model.safetensors"]) > 12_000_000  # the client writes blocks of 10 MiB
    hub.cut = {"model.safetensors": [12_000_000], "tokenizer.json": [100, 100]}
    found = imported()
    assert all((found.path / name).read_bytes() == data for name, data in model.items())
    assert hub.sent("model.safetensors")[-1] == f"bytes={10 * 2**20}-"


def test_a_download_that_was_killed_keeps_whole_files(hub, imported, model, tmp_path):
    hub.slow["model.safetensors"] = 0.5
    environment = {**os.environ, "PYTHONPATH": f"{python_path()}{os.pathsep}{REPOSITORY}"}
    request = {"job": "hub_fetch", "repository": NAME, "revision": "main", "commit": commit_of(hub)}
    script = f"from seatrial.training import hub; hub.fetch({request!r}, lambda **event: None)"
    child = subprocess.Popen([sys.executable, "-c", script], env=environment)
    try:
        deadline = time.monotonic() + 60
        while not hub.sent("model.safetensors") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not list((tmp_path / "cache").rglob("model.safetensors"))
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    hub.slow.clear()
    hub.asked.clear()
    found = imported()
    assert (found.path / "model.safetensors").read_bytes() == model["model.safetensors"]
    assert hub.sent("config.json") == []
    assert len(hub.sent("model.safetensors")) > 0


def test_a_file_that_was_damaged_in_the_cache_is_fetched_again(hub, imported, told, model, tmp_path):
    imported()
    cached = next((tmp_path / "cache").rglob("model.safetensors")).resolve()
    data = bytearray(cached.read_bytes())
    data[-1] ^= 1
    cached.write_bytes(data)  # in place: the store's file is the same
    again = imported()
    assert (again.path / "model.safetensors").read_bytes() == model["model.safetensors"]
    assert "model.safetensors is damaged" in told.text
    assert "model.safetensors in the hub's cache is not what the hub lists: fetching again" in told.text


def test_a_digest_that_differs(hub, refused, model):
    data = bytearray(model["model.safetensors"])
    data[-1] ^= 1
    hub.swap["model.safetensors"] = bytes(data)
    told = refused()
    assert "its digest differs, twice" in told
    assert re.search(r"rm \S+model\.safetensors", told)


def test_more_than_the_disk_holds(hub, refused):
    hub.claim["model.safetensors"] = 10**16
    told = refused()
    assert "10000000.0 GB are to be downloaded" in told
    assert "HF_HUB_CACHE=DIR" in told
    assert hub.sent("model.safetensors") == []


def test_a_disk_that_is_full():
    told = explain(OSError(errno.ENOSPC, "No space left on device"), NAME, "main")
    assert "no space left in the hub's cache" in str(told)
    assert "HF_HUB_CACHE=DIR" in str(told)


def test_a_cache_that_is_a_file(hub, refused, tmp_path):
    (tmp_path / "cache").write_text("no folder")
    assert "HF_HUB_CACHE=DIR" in refused()


def test_what_was_built_before_an_error_stays(hub, imported, refused):
    first = imported()
    refused("v9")
    again = imported()
    assert (again.key, again.built) == (first.key, False)


def test_the_whole_path(hub, tmp_path, monkeypatch):
    """A branch of the hub → adapter → merged model → GGUF → verdict; offline again, nothing is made anew."""
    task = tmp_path / "task"
    shutil.copytree(MINIATURE, task, ignore=shutil.ignore_patterns("__pycache__"))
    recipe = task / "recipes" / "tiny-llama.toml"
    text = recipe.read_text(encoding="utf-8")
    source = f'source = "hub"\nrepository = "{NAME}"\nrevision = "main"'
    recipe.write_text(text.replace('source = "folder"\npath = "tiny-llama"', source), encoding="utf-8")
    status, results, output = release(tmp_path)
    assert status == 1, output
    assert results["gate"]["decision"] == "DO NOT SHIP"
    built = {artifact["step"]: artifact for artifact in results["artifacts"] if artifact["built_now"]}
    assert {"base", "adapter", "merged", "gguf", "quantized", "generations"} <= set(built)
    assert f"{NAME} at commit {commit_of(hub)[:12]} comes from the hub" in output
    assert "Fetching" not in output, "the client's own progress bar"
    hub.repositories[NAME].push({"config.json": b"{}"})
    hub.asked.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    _, results, output = release(tmp_path)
    assert not [artifact["step"] for artifact in results["artifacts"] if artifact["built_now"]]
    assert "is taken for commit" in output
    assert hub.asked == []
