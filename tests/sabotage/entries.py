"""The whole tables: every module of this folder called ``faults_*`` or ``harmless_*`` adds entries to them."""

from __future__ import annotations

import importlib
from pathlib import Path

from tests.sabotage.faults import FAULTS as FAULTS
from tests.sabotage.harmless import HARMLESS as HARMLESS

for _path in sorted(Path(__file__).parent.glob("*_*.py")):
    if _path.stem.startswith(("faults_", "harmless_")):
        importlib.import_module(f"tests.sabotage.{_path.stem}")
