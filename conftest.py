"""Table of contents: the plugin modules that make Seatrial out of pytest."""

pytest_plugins = [
    "fixtures.options",  # command line options, markers, the task of this run
    "fixtures.pipeline",  # dataset → adapter → merged → gguf → models, as session fixtures
    "fixtures.cases",  # parametrisation by criteria and cases
    "fixtures.verdicts",  # judging, missed cases, how results travel to the controller
    "fixtures.observations",  # per-case tests by the thousand
    "fixtures.gate",  # SHIP or DO NOT SHIP, exit codes
    "fixtures.report",  # what a run leaves behind
]
