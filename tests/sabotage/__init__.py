"""Sabotage: faulty artefacts made from a good one, on each of which the gate must turn red, and harmless ones,
which it must not refuse.

``python -m pytest tests/sabotage -m sabotage``; ``-k NAME`` picks entries, ``test_cheaply.py`` asks a model of
two layers. A fault is one entry in ``faults.py`` or in a ``faults_*.py`` beside it, a harmless change one in
``harmless.py`` or a ``harmless_*.py``; ``gguf_edit.py``, ``mistakes.py`` and ``workshop.py`` make the files,
``task.py`` a task that is cheap to judge, ``gate.py`` asks the gate.
"""
