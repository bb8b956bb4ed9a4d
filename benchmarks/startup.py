"""What the installed plugin costs a session that has nothing to do with it: ``python benchmarks/startup.py``.

One unit test, run without the plugin, with it, and with it in a repository that names a task; in turns, so
that a busy machine slows all three. Needs Seatrial installed (an editable install will do). Prints medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

REPOSITORY = Path(__file__).resolve().parent.parent
TASK = REPOSITORY / "golden" / "task_api"
PLAIN = "[tool.pytest.ini_options]\n"
WAYS = {
    "without the plugin": (PLAIN, ["-p", "no:seatrial"]),
    "with the plugin": (PLAIN, []),
    "with the plugin and a task": (f'{PLAIN}seatrial_task = "{TASK}"\n', []),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    with TemporaryDirectory() as folder:
        Path(folder, "test_unit.py").write_text("def test_unit():\n    pass\n", encoding="utf-8")
        for _ in range(rounds):
            for way, (configuration, options) in WAYS.items():
                Path(folder, "pyproject.toml").write_text(configuration, encoding="utf-8")
                seconds[way].append(_run(folder, options))
    first = statistics.median(next(iter(seconds.values())))
    for way, times in seconds.items():
        median = statistics.median(times)
        print(
            f"{way:28s} {median * 1000:6.0f} ms ({(median - first) * 1000:+.0f} ms), best {min(times):.3f} s"
        )
    return 0


def _run(folder: str, options: list[str]) -> float:
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
