"""The device that computes a model: a GPU if it holds all of it, else the processor."""

from __future__ import annotations


def placed(needed: float) -> str:
    """``cuda``, ``mps`` or ``cpu``: where a model that takes ``needed`` bytes is computed.

    A GPU that holds a part only is not used: what does not fit would cross the bus for every token.
    """
    import torch

    if torch.cuda.is_available() and needed <= torch.cuda.mem_get_info()[0]:
        return "cuda"
    if torch.backends.mps.is_available():
        free = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        if needed <= free:
            return "mps"
    return "cpu"
