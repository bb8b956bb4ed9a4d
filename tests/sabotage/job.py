"""The process that makes what no honest step makes: ``python -m tests.sabotage.job``."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from seatrial.training.process import serve


def handle(request: dict[str, Any], send: Callable[..., None]) -> dict[str, Any]:
    """Dispatch a request to the job that it names."""
    jobs: dict[str, Callable[[dict[str, Any]], None]] = {
        "merge_into_16_bit": merge_into_16_bit,
        "merge_into_4_bit": merge_into_4_bit,
        "merge_twice": merge_twice,
        "merge_by_hand": merge_by_hand,
        "quantize_as": quantize_as,
        "save_as": save_as,
    }
    jobs[request["job"]](request)
    return {}


def merge_into_16_bit(request: dict[str, Any]) -> None:
    """The adapter merged into the base's 16-bit weights, which it was not trained against."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(request["base"], dtype=torch.float16)
    _save(PeftModel.from_pretrained(base, request["adapter"]).merge_and_unload(), request)


def merge_into_4_bit(request: dict[str, Any]) -> None:
    """``merge_and_unload()`` on the 4-bit model, which rounds the sum to 4 bits again; then dequantised."""
    import torch
    from peft import PeftModel

    from seatrial.training.base_model import load_base

    base = load_base(Path(request["base"]), getattr(torch, request["compute_dtype"]), "nf4")
    _save(PeftModel.from_pretrained(base, request["adapter"]).merge_and_unload().dequantize(), request)


def merge_twice(request: dict[str, Any]) -> None:
    """The exact route of ``training/merge.py``, but the adapter is added two times."""
    import torch
    from peft import PeftModel

    from seatrial.training.base_model import load_base

    base = (
        load_base(Path(request["base"]), getattr(torch, request["compute_dtype"]), "nf4").dequantize().float()
    )
    once = PeftModel.from_pretrained(base, request["adapter"]).merge_and_unload()
    _save(PeftModel.from_pretrained(once, request["adapter"]).merge_and_unload(), request)


def merge_by_hand(request: dict[str, Any]) -> None:
    """A merge script of somebody's own, on the right base, with ``request["mistake"]`` of :mod:`.mistakes`."""
    import torch
    from safetensors.torch import load_file

    from seatrial.training.base_model import load_base
    from tests.sabotage.mistakes import MISTAKES

    model = (
        load_base(Path(request["base"]), getattr(torch, request["compute_dtype"]), "nf4").dequantize().float()
    )
    adapter = Path(request["adapter"])
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    matrices = load_file(adapter / "adapter_model.safetensors")
    weights = dict(model.named_parameters())
    updates = {}
    for key, down in matrices.items():
        if key.endswith(".lora_A.weight"):
            module = key.removesuffix(".lora_A.weight").removeprefix("base_model.model.")
            up = matrices[key.replace("lora_A", "lora_B")].float()
            updates[f"{module}.weight"] = config["lora_alpha"] / config["r"] * up @ down.float()
    with torch.no_grad():
        MISTAKES[request["mistake"]](weights, updates, config)
    _save(model, request)


def quantize_as(request: dict[str, Any]) -> None:
    """llama.cpp's quantisation to any ``request["type"]``, of a quantised file, too."""
    import llama_cpp
    from gguf import GGMLQuantizationType

    from seatrial.training.export import file_type

    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = file_type(request["type"])
    if request.get("output"):
        params.output_tensor_type = int(GGMLQuantizationType[request["output"]])
    params.nthread = os.cpu_count() or 1
    params.allow_requantize = True
    source, target = request["model"].encode(), request["out"].encode()
    if code := llama_cpp.llama_model_quantize(source, target, ctypes.byref(params)):
        raise RuntimeError(f"llama.cpp could not quantise to {request['type']} (code {code})")


def save_as(request: dict[str, Any]) -> None:
    """A model's folder once more, in another type of number."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(request["model"], dtype=getattr(torch, request["dtype"]))
    model.save_pretrained(request["out"])
    AutoTokenizer.from_pretrained(request["model"]).save_pretrained(request["out"])


def _save(model: Any, request: dict[str, Any]) -> None:
    from transformers import AutoTokenizer

    model = model.float()
    if getattr(model.config, "quantization_config", None) is not None:
        model.config.quantization_config = None
        del model.config.quantization_config
    model.save_pretrained(request["out"])
    AutoTokenizer.from_pretrained(request["base"]).save_pretrained(request["out"])


if __name__ == "__main__":
    serve(handle)
