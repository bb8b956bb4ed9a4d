"""A child that speaks JSON lines and does what it is asked, faults included."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from filelock import FileLock

from seatrial.training.errors import SeatrialError
from seatrial.training.process import serve
from tests.children import watchdog

LOCKS: list[FileLock] = []


def handle(request: dict[str, Any], send: Callable[..., None]) -> Any:
    return globals()[f"do_{request['do']}"](request, send)


def do_echo(request: dict[str, Any], send: Callable[..., None]) -> Any:
    return request["value"]


def do_show_a_bar(request: dict[str, Any], send: Callable[..., None]) -> list[str]:
    from tqdm import tqdm

    with tqdm(total=1):
        return [thread.name for thread in threading.enumerate()]


def do_count(request: dict[str, Any], send: Callable[..., None]) -> str:
    for number in range(request["to"]):
        send(done=number + 1, total=request["to"])
        time.sleep(request.get("pause", 0))
    return "counted"


def do_refuse(request: dict[str, Any], send: Callable[..., None]) -> None:
    raise SeatrialError("the value is wrong", where="rows.jsonl:3", hint="write another")


def do_crash(request: dict[str, Any], send: Callable[..., None]) -> None:
    raise ZeroDivisionError("by nothing")


def do_die(request: dict[str, Any], send: Callable[..., None]) -> None:
    print("the last words", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.Signals[request["signal"]])


def do_exit(request: dict[str, Any], send: Callable[..., None]) -> None:
    os._exit(request["status"])


def do_noise(request: dict[str, Any], send: Callable[..., None]) -> str:
    print('{"result": "a library, by print"}', flush=True)
    os.write(1, b'{"error": "a library, by descriptor"}\n')
    subprocess.run([sys.executable, "-c", "print('a grandchild')"], check=True)
    return "heard"


def do_lock(request: dict[str, Any], send: Callable[..., None]) -> int:
    LOCKS.append(FileLock(request["path"]))
    LOCKS[-1].acquire(timeout=5)
    return os.getpid()


if __name__ == "__main__":
    watchdog.start()
    print("{a library says hello before we do}\n", flush=True)
    serve(handle)
