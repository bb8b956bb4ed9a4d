"""Training backends: each turns rows and a recipe into a LoRA adapter folder that plain peft loads.

A backend is a function ``train(request, send) -> facts`` that runs inside a job process; ``BACKENDS``
names the module of each, imported only there, because they import torch.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol, cast

BACKENDS = {"trl": "seatrial.training.backends.trl", "unsloth": "seatrial.training.backends.unsloth"}
METHODS = {"dpo": "seatrial.training.backends.dpo"}  # of a recipe's [preference]: they train an adapter on


class Backend(Protocol):
    """The interface of a backend module."""

    def train(self, request: dict[str, Any], send: Callable[..., None]) -> dict[str, Any]:
        """Train an adapter.

        Args:
            request: ``base`` (folder with the base weights), ``rows`` (JSONL of prompt/completion
                messages, validation rows last), ``recipe`` (the recipe as JSON), ``out`` (folder for the
                adapter), ``checkpoints`` (scratch folder), ``compute_dtype`` (torch's name of the type to
                multiply in).
            send: called with ``done``, ``total`` and figures such as ``loss`` as training goes on.

        Returns:
            Facts for the manifest: ``history`` (list of logged steps), ``tokens``, ``train_loss``,
            ``eval_loss``, ``compute_dtype``.
        """
        ...


def load(name: str) -> Backend:
    """The module of the backend or of the method of preference optimisation called ``name``."""
    return cast(Backend, import_module({**BACKENDS, **METHODS}[name]))
