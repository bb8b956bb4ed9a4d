"""What one machine built, another judges: the whole path of the miniature, through a real S3 server.

python -m pytest tests/test_remote_judged.py -s   prints the bytes and seconds
"""

import json
import shutil
import subprocess
import sys
import time

import pytest

from seatrial.training import steps
from seatrial.training.exchange import LOG
from seatrial.training.recipe import load_recipe
from seatrial.training.store import Store, default_root
from tests.conftest import MINIATURE, PLUGIN, QUIET, REPOSITORY, clean_environment
from tests.s3_remote import BUCKET, CREDENTIALS, SETTINGS, s3_server
from tests.test_end_to_end import EXPORT_CRITERIA

URL = f"s3://{BUCKET}/gate"
OF_THIS_MACHINE = {"timings", "imports"}
# As if the packages that only training takes had lost their files.
BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("trl", "datasets"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The miniature with a base model, in a user's repository, and a server whose bucket is empty."""
    folder = tmp_path_factory.mktemp("judged")
    task = shutil.copytree(MINIATURE, folder / "task", ignore=shutil.ignore_patterns("__pycache__"))
    tokenizer = Store(default_root()).build(steps.import_base(load_recipe("smollm2-135m-cpu"))).path
    make = [sys.executable, MINIATURE / "make_base.py", tokenizer, task / "recipes" / "tiny-llama"]
    subprocess.run([str(word) for word in make], check=True, cwd=REPOSITORY)
    with (task / "task.toml").open("a", encoding="utf-8") as file:
        file.write(EXPORT_CRITERIA)
    (folder / "pyproject.toml").write_text('[tool.pytest.ini_options]\nseatrial_task = "task"\n')
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(BLOCKER, encoding="utf-8")
    with s3_server() as server:
        yield folder, server


def release(place, store, blocked=False, *more):
    """Status, results and output of the gate with the store ``store`` and the remote one."""
    folder, server = place
    environment = clean_environment() | CREDENTIALS | SETTINGS
    environment["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{server.port}"
    environment["SEATRIAL_STORE_REMOTE"] = URL
    if blocked:
        environment["PYTHONPATH"] = f"{folder / 'site'}:{environment['PYTHONPATH']}"
    words = [sys.executable, "-m", "pytest", "-m", "release", *PLUGIN, *QUIET, f"--store={folder / store}"]
    done = subprocess.run(
        [*words, f"--report-dir={folder / 'reports'}", *more],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    latest = folder / "reports" / "lamp" / "latest" / "results.json"
    results = json.loads(latest.read_text(encoding="utf-8")) if latest.exists() else {}
    return done.returncode, results, done.stdout + done.stderr


def moved(place, store, what):
    log = (place[0] / store / "logs" / LOG).read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, log) if row["what"] == what]
    return sum(row["bytes"] for row in rows), sum(row["seconds"] for row in rows), len(rows)


@pytest.fixture(scope="module")
def cold(place):
    started = time.monotonic()
    run = release(place, "gpu")
    count, seconds, number = moved(place, "gpu", "sent")
    print(
        f"\nbuilt and sent in {time.monotonic() - started:.0f} s: {number} artifacts, {count:,} bytes, {seconds:.1f} s"
    )
    return run


@pytest.fixture(scope="module")
def judged(place, cold):
    """The run of another machine, whose store is empty and which has nothing to train with."""
    started = time.monotonic()
    run = release(place, "cpu", True)
    count, seconds, number = moved(place, "cpu", "fetched")
    print(
        f"\njudged in {time.monotonic() - started:.0f} s: {number} artifacts, {count:,} bytes, {seconds:.1f} s"
    )
    return run


def made(results):
    return {artifact["step"] for artifact in results["artifacts"] if artifact["built_now"]}


def test_nothing_but_what_is_of_this_machine_is_built_again(cold, judged):
    assert {"base", "dataset", "adapter", "merged", "gguf", "quantized", "generations"} <= made(cold[1]), (
        cold[2]
    )
    assert made(judged[1]) <= OF_THIS_MACHINE, judged[2]


def test_the_verdict_is_the_same(cold, judged):
    assert judged[0] == cold[0], judged[2]
    assert judged[1]["gate"]["decision"] == cold[1]["gate"]["decision"]
    for here, there in zip(judged[1]["verdicts"], cold[1]["verdicts"], strict=True):
        assert here["status"] == there["status"], here["criterion"]
        if not here["criterion"].startswith("LATENCY"):
            assert here["measured"] == there["measured"], here["criterion"]


def test_what_came_is_what_was_needed_of_what_was_sent(place, judged):
    (sent, _, artifacts), (came, seconds, number) = (
        moved(place, "gpu", "sent"),
        moved(place, "cpu", "fetched"),
    )
    assert 0 < sent <= came  # a file that two artifacts share is sent once
    assert number == artifacts
    assert seconds > 0


def test_without_the_remote_that_machine_could_not_have_judged(place, judged):
    _, server = place
    (name,) = server.names("gate/artifacts/adapter/")
    manifest = server.read(name)
    server.client.delete_object(Bucket=BUCKET, Key=name)
    status, _, output = release(place, "third", True)
    server.change(name, manifest)
    assert status == 4, output
    assert "a model is trained here, which needs" in output


def test_no_credential_lies_in_what_the_runs_left(place, judged):
    folder, _ = place
    files = [path for path in folder.rglob("*") if path.is_file()]
    for secret in CREDENTIALS.values():
        assert not [path for path in files if secret.encode() in path.read_bytes()]
