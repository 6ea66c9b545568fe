"""What a page is made of, as a browser would take it apart, for tests that look at it without one."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

__all__ = ["Parsed", "parse"]

VOID = {"meta", "link", "input", "br", "img", "hr"}


@dataclass
class Parsed(HTMLParser):
    """The elements, texts, links and forms of a page."""

    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    unclosed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.unclosed.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.unclosed, f"</{tag}> closes nothing"
        assert self.unclosed[-1] == tag, f"</{tag}> where <{self.unclosed[-1]}> is open, at {self.getpos()}"
        self.unclosed.pop()

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        """All its text, in order."""
        return "".join(self.texts)

    def of(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        """The attributes of the elements of that kind that have these ones."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [given for kind, given in self.elements if kind == tag and wanted.items() <= given.items()]

    @property
    def links(self) -> list[str]:
        """Where its links lead."""
        return [given["href"] for given in self.of("a") if "href" in given]


def parse(html: str) -> Parsed:
    """Take it apart; fails where elements are not closed as they were opened, or an id is there twice."""
    parsed = Parsed()
    parsed.feed(html)
    parsed.close()
    assert parsed.unclosed == [], f"never closed: {parsed.unclosed}"
    ids = [given["id"] for _, given in parsed.elements if "id" in given]
    assert len(ids) == len(set(ids)), f"twice: {sorted(id for id in ids if ids.count(id) > 1)}"
    return parsed


def assert_nothing_runs(parsed: Parsed, nonce: str) -> None:
    """No script, style or address on the page could be anybody's but ours."""
    for tag, given in parsed.elements:
        assert "style" not in given, (tag, given)
        assert not [name for name in given if name.startswith("on")], (tag, given)
        assert tag not in ("style", "iframe", "object", "embed", "base"), (tag, given)
        for name in ("href", "src", "action", "formaction"):
            if given.get(name):
                assert given[name].startswith(("/", "#")), (tag, given)
                assert not given[name].startswith("//"), (tag, given)
    for script in parsed.of("script") + parsed.of("link", rel="stylesheet"):
        assert script.get("nonce") == nonce
        assert script.get("src", script.get("href", "")).startswith("/")
