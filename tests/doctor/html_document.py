"""Read a report with the parser of the standard library, and refuse what is not well-formed."""

from __future__ import annotations

from html.parser import HTMLParser

_VOID = {"meta"}


class Document(HTMLParser):
    """The elements and the texts of a document.

    Attributes:
        elements: The name and the attributes of each element, in order.
        texts: The texts outside `style`.
        style: The style sheet.
    """

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.style = ""
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert self._open == []

    @property
    def text(self) -> str:
        """All texts."""
        return "".join(self.texts)

    def named(self, name: str) -> list[dict[str, str | None]]:
        """Return the attributes of the elements with a name."""
        return [attributes for each, attributes in self.elements if each == name]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs)
        assert all(value is not None for _, value in attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        raise AssertionError(f"self-closing {tag}")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            self.style += data
        else:
            self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"comment: {data}")

    def handle_pi(self, data: str) -> None:
        raise AssertionError(f"processing instruction: {data}")
