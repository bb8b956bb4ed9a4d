"""A page of HTML as the tests read it, and texts that would break one that does not escape them."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "br", "link", "img", "input", "hr", "base"}
HOSTILE = (
    "<script>alert(1)</script>",
    "</pre></style></title><img src=https://evil.example/x onerror=alert(1)>",
    "{{ 7*7 }}{% raw %}${7*7}",
    '" onmouseover="alert(1)" x="',
    "<!-- <svg onload=alert(1)> ]]>",
)


class Page(HTMLParser):
    """A page's elements, attributes and text, as a browser would find them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.sections: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.section = "head"
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag == "section":
            self.section = str(dict(attrs)["id"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.sections.setdefault(self.section, []).append(data)

    def text(self, section: str | None = None) -> str:
        """Visible text with single spaces; of one section, or of the page."""
        parts = (
            self.sections[section] if section else [part for each in self.sections.values() for part in each]
        )
        return " ".join(" ".join(parts).split())
