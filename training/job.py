"""The process in which one step of training or export runs: ``python -m seatrial.training.job``.

Reads one request ``{"job": name, ...}``; people type ``python -m seatrial.training`` instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from seatrial.training import backends, base, export, extras, hub, launcher, merge, out_of_memory
from seatrial.training.process import serve


def handle(request: dict[str, Any], send: Callable[..., None]) -> dict[str, Any]:
    """Dispatch a request to the job that it names."""
    jobs: dict[str, Callable[[dict[str, Any], Callable[..., None]], dict[str, Any]]] = {
        "import_extra": extras.import_all,
        "hub_look": hub.look,
        "hub_fetch": hub.fetch,
        "import_weights": base.import_weights,
        "merge": merge.merge,
        "convert": export.convert,
        "quantize": export.quantize,
    }
    if request["job"] == "train":
        with out_of_memory.told():
            if request.get("launch"):
                return launcher.train(request, send)
            return backends.load(request["backend"]).train(request, send)
    return jobs[request["job"]](request, send)


if __name__ == "__main__":
    serve(handle)
