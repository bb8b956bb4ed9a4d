"""The process in which one step of training or export runs: ``python -m seatrial.training.job``.

Reads one request ``{"job": name, ...}``; people type ``python -m seatrial.training`` instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from seatrial.training import backends, base, export, extras, hub, launcher, merge, out_of_memory
from seatrial.training.memory import peaks
from seatrial.training.process import serve

Job = Callable[[dict[str, Any], Callable[..., None]], dict[str, Any]]
ASKED: dict[str, Job] = {"import_extra": extras.import_all, "hub_look": hub.look, "hub_fetch": hub.fetch}
BUILT: dict[str, Job] = {
    "import_weights": base.import_weights,
    "merge": merge.merge,
    "convert": export.convert,
    "quantize": export.quantize,
}


def handle(request: dict[str, Any], send: Callable[..., None]) -> dict[str, Any]:
    """Dispatch a request to the job that it names; one that builds tells how much memory it took."""
    if request["job"] in ASKED:
        return ASKED[request["job"]](request, send)
    return {**_built(request, send), **peaks()}


def _built(request: dict[str, Any], send: Callable[..., None]) -> dict[str, Any]:
    if request["job"] != "train":
        return BUILT[request["job"]](request, send)
    with out_of_memory.told():
        if request.get("launch"):
            return launcher.train(request, send)
        return backends.load(request["backend"]).train(request, send)


if __name__ == "__main__":
    serve(handle)
