"""Small child processes for tests/test_process.py and tests/test_store.py: ``python -m tests.children.x``."""
