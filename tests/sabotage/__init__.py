"""Sabotage: faulty artefacts made from a good one, on each of which the gate must turn red.

``python -m pytest tests/sabotage -m sabotage``. A fault is one entry in ``faults.py``; ``gguf_edit.py`` and
``workshop.py`` make the files, ``task.py`` a task that is cheap to judge, ``gate.py`` asks the gate.
"""
