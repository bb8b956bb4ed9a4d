"""What llama.cpp's converter is told, with a converter that notes what it was given; files without links.

python -m pytest tests/test_export.py
"""

import json
import shlex
from pathlib import Path

import pytest
from gguf import GGUFWriter

from seatrial.training import steps
from seatrial.training.errors import SeatrialError
from seatrial.training.export import convert
from seatrial.training.store import Artifact, Store, file_digest

NOTES = """
import json, os, sys
folder, out = sys.argv[1], sys.argv[sys.argv.index("--outfile") + 1]
seen = {"name": os.path.basename(folder), "files": os.listdir(folder), "arguments": sys.argv[2:]}
open(out, "w").write(json.dumps(seen))
"""


@pytest.fixture
def request_for(tmp_path):
    """Makes a request to convert a folder whose name, as a store's key may, reads as a model's."""

    def make(script):
        model, converter, out = tmp_path / "5ea-7b-f1ne", tmp_path / "converter", tmp_path / "out"
        for folder in (model, converter, out):
            folder.mkdir()
        (model / "config.json").touch()
        (converter / "convert_hf_to_gguf.py").write_text(script, encoding="utf-8")
        paths = {"model": model, "converter": converter, "out": out / "lamp-f16.gguf"}
        return {key: str(path) for key, path in paths.items()} | {"name": "lamp"}

    return make


def test_the_converter_sees_the_models_name_and_never_the_key_of_the_store(request_for, tmp_path):
    facts = convert(request_for(NOTES), print)
    (made,) = (tmp_path / "out").iterdir()  # and nothing of what it was made with
    seen = json.loads(made.read_text(encoding="utf-8"))
    assert (seen["name"], seen["files"]) == ("lamp", ["config.json"])
    assert shlex.join(seen["arguments"]).endswith("--outtype f16 --model-name lamp")
    assert facts == {"bytes": made.stat().st_size}


def test_a_converter_that_fails_is_one_clear_error_about_the_model(request_for, tmp_path):
    with pytest.raises(SeatrialError) as error:
        convert(request_for("raise SystemExit('the architecture is martian')"), print)
    assert "converter ended with exit status 1" in str(error.value)
    assert str(tmp_path / "5ea-7b-f1ne") in str(error.value)
    assert "the architecture is martian" in str(error.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_the_f16_file_needs_no_hard_links(tmp_path, monkeypatch):
    source = tmp_path / "lamp-f16.gguf"
    writer = GGUFWriter(source, "llama")
    writer.add_chat_template("<|im_start|>")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()

    def refuse(*_):
        raise OSError("this file system has none")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    f16 = Artifact(tmp_path, {"key": "f16", "files": {source.name: {"sha256": file_digest(source)}}})
    step = steps.quantize(f16, "f16", "lamp", "", {"temperature": 0, "max_tokens": 8, "context": 64})
    made = Store(tmp_path / "store").build(step)
    assert (made.path / "lamp-f16.gguf").read_bytes() == source.read_bytes()
