"""What an adapter was trained beside: the base's weights in 4 bits, in 8, or whole.

The trained model is the base *as it was trained on* and the adapter; merged into other numbers, the adapter
is a model that nobody trained. peft does not write down in which precision the base was held, so it is read
from whatever does: the manifest of an adapter that was trained here; the adapter's own configuration, peft's
model card and the name of its base; the base's ``quantization_config``; the option ``--trained-on``. What
they say must agree. Where none says, the recipe is asked, and then it is an error: it is not guessed.
"""

from __future__ import annotations

import ast
import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from seatrial.training.errors import SeatrialError
from seatrial.training.recipe import Precision, Recipe

OPTION = "--trained-on"
WORDS: tuple[str, ...] = get_args(Precision)
FOUR_BITS = ("nf4", "nf4-double")
WHOLE = ("bf16", "fp16", "fp32")
CARD = "quantization config was used during training:"  # what peft writes before the settings in README.md
# ends of the names under which quantised bases are published
NAMED: Mapping[str, tuple[str, ...]] = {"bnb-4bit": FOUR_BITS, "bnb-8bit": ("int8",)}
QUANTISED_NAME = re.compile(r"[-_.](gptq|awq|aqlm|hqq|exl2|gguf)\b", re.IGNORECASE)


@dataclass(frozen=True)
class TrainedOn:
    """``precision`` in the words of recipes, and who says so.

    ``skipped``: modules that were left out of quantisation, as ``llm_int8_skip_modules`` names them; None:
    those that the library leaves out by itself. ``compute_dtype``: the type that the base was loaded in.
    """

    precision: str
    source: str
    skipped: tuple[str, ...] | None = None
    compute_dtype: str = "float32"

    def facts(self) -> dict[str, Any]:
        """What the adapter's manifest keeps of it."""
        told = asdict(self)
        if self.skipped is None:
            del told["skipped"]
        return told


@dataclass(frozen=True)
class _Said:
    """The precisions that one source allows: several where it says no more than "4 bits"."""

    allowed: tuple[str, ...]
    source: str
    skipped: tuple[str, ...] | None = None
    compute_dtype: str | None = None


def trained_on(
    adapter: Path, base: Path | None, recipe: Recipe | None = None, option: str | None = None
) -> TrainedOn | None:
    """What the adapter in the folder ``adapter`` was trained beside; None where nobody says.

    Args:
        base: the folder of its base, if that is here.
        recipe: the recipe of the run, asked last, and only if its base is the one that the adapter names.
        option: what ``--trained-on`` says.

    Raises:
        SeatrialError: two of them contradict each other, or name a quantisation that cannot be read here.
    """
    told = list(_told(adapter, base))
    if option is not None:
        told.append(_Said((checked(option),), OPTION))
    if len(_agreed(adapter, told)) != 1:
        told += _by_recipe(adapter, recipe)
    allowed = _agreed(adapter, told)
    if not allowed:
        return None
    first = min(told, key=lambda each: len(each.allowed))
    if len(allowed) > 1:
        what = "in 4 bits, and not whether their scales were, too" if allowed == FOUR_BITS else "whole"
        raise SeatrialError(
            f"{first.source} says that the base's weights were held {what}: that is not all there is to know",
            where=adapter,
            hint=f"{OPTION}={'|'.join(allowed)} (nf4-double: bnb_4bit_use_double_quant was true)"
            if allowed == FOUR_BITS
            else f"{OPTION}={'|'.join(allowed)}, the type that the base was loaded in",
        )
    skipped = next((each.skipped for each in told if each.skipped is not None), None)
    dtype = next((each.compute_dtype for each in told if each.compute_dtype), "float32")
    return TrainedOn(allowed[0], first.source, skipped, dtype)


def _agreed(adapter: Path, told: Sequence[_Said]) -> tuple[str, ...]:
    """The precisions that all of ``told`` allow; none where nobody says anything."""
    allowed: tuple[str, ...] = told[0].allowed if told else ()
    for other in told[1:]:
        if not set(allowed) & set(other.allowed):
            raise _contradiction(adapter, told[0], allowed, other)
        allowed = tuple(word for word in allowed if word in other.allowed)
    return allowed


def require(adapter: Path, found: TrainedOn | None) -> TrainedOn:
    """``found``, or the error that says what to type."""
    if found is None:
        raise SeatrialError(
            "nothing says in which precision the base was held when this adapter was trained",
            where=adapter,
            hint=f"{OPTION}={'|'.join(WORDS)}: nf4 or nf4-double after load_in_4bit (QLoRA), int8 after "
            "load_in_8bit, else the type that the base was loaded in",
        )
    start = _json(adapter / "adapter_config.json").get("init_lora_weights")
    if start == "olora" and found.precision not in WHOLE:
        raise SeatrialError(
            f"OLoRA changed the base and rounded it anew in {found.precision}, and no file says to what",
            where=adapter,
            hint="peft's save_pretrained(path_initial_model_for_weight_conversion=...) makes it plain LoRA",
        )
    return found


def known_beside_its_base(adapter: Path, recipe: Recipe | None, option: str | None) -> TrainedOn | None:
    """As :func:`trained_on`, for an adapter whose base is where it says, if anywhere; told before anything is
    built. Where that folder is here, somebody must say, as in :func:`require`."""
    named = Path(base_name(adapter))
    base = named if named.is_dir() else None
    found = trained_on(adapter, base, recipe, option)
    return found if base is None else require(adapter, found)


def checked(word: str) -> str:
    """``word``, if it is one that recipes use.

    Raises:
        SeatrialError: it is not.
    """
    if word in WORDS:
        return word
    close = difflib.get_close_matches(word, WORDS, n=1)
    guess = f"did you mean {close[0]!r}? " if close else ""
    raise SeatrialError(f"there is no {word!r}", where=OPTION, hint=f"{guess}one of: {', '.join(WORDS)}")


def base_name(adapter: Path) -> str:
    """The base that an adapter's configuration names."""
    return str(_json(adapter / "adapter_config.json").get("base_model_name_or_path"))


def quantization_config(base: Path) -> dict[str, Any]:
    """That of a base whose weights are quantised already; empty for one with whole weights."""
    return dict(_json(base / "config.json").get("quantization_config") or {})


def is_packed(base: Path) -> bool:
    """Whether the weights of ``base`` lie there packed by bitsandbytes, in 4 or 8 bits."""
    config = quantization_config(base)
    return config.get("quant_method") == "bitsandbytes" or bool(
        config.get("load_in_4bit") or config.get("load_in_8bit")
    )


# --- who says what --------------------------------------------------------------------------------------
def _told(adapter: Path, base: Path | None) -> Iterator[_Said]:
    yield from _by_manifest(adapter)
    config = _json(adapter / "adapter_config.json")
    if settings := config.get("quantization_config"):
        yield _by_bitsandbytes(settings, f"{adapter.name}/adapter_config.json")
    if settings := _card(adapter / "README.md"):
        yield _by_bitsandbytes(settings, f"{adapter.name}/README.md")
    named = str(config.get("base_model_name_or_path"))
    for end, words in NAMED.items():
        if named.casefold().rstrip("/").endswith(end):
            yield _Said(words, f"the name of its base, {named!r},")
    if base is None:
        return
    if settings := quantization_config(base):
        yield _by_bitsandbytes(settings, f"the config.json of its base {base}", packed=True)
    elif QUANTISED_NAME.search(named) and not Path(named).is_dir():
        raise _unreadable(adapter, f"its base is {named!r}")


def _by_manifest(adapter: Path) -> Iterator[_Said]:
    facts = _json(adapter / "manifest.json").get("facts") or {}
    if "backend" in facts:  # before there was a choice, every adapter was trained on NF4
        skipped = facts.get("skipped")
        yield _Said(
            (str(facts.get("precision", "nf4")),),
            "the adapter's manifest",
            None if skipped is None else tuple(skipped),
            facts.get("compute_dtype"),
        )


def _by_recipe(adapter: Path, recipe: Recipe | None) -> Iterator[_Said]:
    if recipe is not None and recipe.base.model == base_name(adapter):
        yield _Said((recipe.base.precision,), f"the recipe {recipe.name!r}")


def _by_bitsandbytes(settings: Mapping[str, Any], source: str, packed: bool = False) -> _Said:
    """What transformers' BitsAndBytesConfig says; ``packed``: of weights that lie there quantised."""
    method = settings.get("quant_method", "bitsandbytes")
    if str(method).removeprefix("QuantizationMethod.").casefold() not in ("bitsandbytes", "bits_and_bytes"):
        raise _unreadable(source, f"quant_method is {method!r}")
    skipped = settings.get("llm_int8_skip_modules")
    names = tuple(map(str, skipped)) if isinstance(skipped, list | tuple) else None
    if settings.get("load_in_8bit") or settings.get("_load_in_8bit"):
        return _Said(("int8",), source, names)
    if not (settings.get("load_in_4bit") or settings.get("_load_in_4bit")):
        return _Said(WHOLE, source)
    kind = str(settings.get("bnb_4bit_quant_type", "fp4"))
    if kind != "nf4":
        if packed:  # such weights are read as they are, whatever they are called
            return _Said((kind,), source, names)
        raise _unreadable(source, f"bnb_4bit_quant_type is {kind!r}")
    double = bool(settings.get("bnb_4bit_use_double_quant"))
    dtype = str(settings.get("bnb_4bit_compute_dtype", "")).removeprefix("torch.")
    known = dtype if dtype in ("float32", "bfloat16", "float16") else None
    return _Said(("nf4-double" if double else "nf4",), source, names, known)


def _card(path: Path) -> dict[str, Any]:
    """The settings that peft lists in an adapter's model card; empty where it lists none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    _, found, listed = text.partition(CARD)
    settings: dict[str, Any] = {}
    for line in listed.strip().splitlines() if found else ():
        match = re.fullmatch(r"- (\w+): (.*)", line.strip())
        if match is None:
            break
        settings[match[1]] = _value(match[2].strip())
    return settings


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _contradiction(adapter: Path, first: _Said, allowed: tuple[str, ...], other: _Said) -> SeatrialError:
    if other.source == OPTION:
        hint = f"leave {OPTION} out; the base is taken as {first.source} says"
    else:
        hint = f"give the base that it was trained on; the adapter names {base_name(adapter)!r}"
    return SeatrialError(
        f"{first.source} says that the adapter was trained on {' or '.join(allowed)}, "
        f"{other.source} says {' or '.join(other.allowed)}",
        where=adapter,
        hint=hint,
    )


def _unreadable(where: Path | str, what: str) -> SeatrialError:
    return SeatrialError(
        f"{what}: the weights that this adapter was trained on cannot be made here, only those of "
        "bitsandbytes (nf4, int8) and whole ones",
        where=where,
        hint="judge the file without --adapter, against the merged model alone: --hf-model=DIR",
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
