"""Table of contents: the plugin modules that make Seatrial out of pytest."""

pytest_plugins = ["seatrial", "seatrial.fixtures.options"]
