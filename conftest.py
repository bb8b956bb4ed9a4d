"""Table of contents: the plugin modules that make Seatrial out of pytest."""

from fixtures import PARTS

pytest_plugins = list(PARTS)
