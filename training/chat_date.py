"""The date that chat templates are told when they ask for today's: always the same one.

Some templates write the day of their rendering into the prompt (Llama 3.2: "Today Date: ..."). A model would
be trained and judged on prompts that change overnight, and nothing kept of yesterday could be compared with
today. So trainers and runtimes are told the date that Llama's templates take where there is no clock, which
the Modelfile of such a model says, too.
"""

from __future__ import annotations

from datetime import datetime

DATE = datetime(2024, 7, 26)


class Still:
    """In the place of ``datetime``: a clock that stands."""

    @staticmethod
    def now() -> datetime:
        return DATE


def strftime_now(format: str) -> str:
    """What templates call to get the date."""
    return DATE.strftime(format)


def stop_clock() -> None:
    """Tell all templates that transformers renders in this process ``DATE``."""
    from transformers.utils import chat_template_utils

    chat_template_utils.datetime = Still
