"""A parent that dies while its child holds a lock: ``python -m tests.children.parent LOCK LOG``."""

import os
import signal
import sys
from pathlib import Path

from seatrial.training.process import JsonProcess
from tests.children import watchdog

if __name__ == "__main__":
    watchdog.start()
    child = JsonProcess("tests.children.speaker", Path(sys.argv[2]), "the orphan")
    print(child.call({"do": "lock", "path": sys.argv[1]}, timeout=30), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
