"""Header fields of a response."""

from collections.abc import Iterator, Mapping


class Fields(Mapping[str, str]):
    """Fields by name, in any case; the values of several lines with one name are joined by commas (RFC 9110 5.3).

    `all` gives them one by one, and `raw` every line as it came.
    """

    __slots__ = ("_by_name", "raw")

    def __init__(self, lines: bytes) -> None:
        """Part `lines`, each of which is behind a line end."""
        self.raw = tuple(_pair(line) for line in lines.split(b"\r\n")[1:])
        self._by_name: dict[str, list[str]] = {}
        for name, value in self.raw:
            self._by_name.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))

    def __getitem__(self, name: str) -> str:
        return ", ".join(self._by_name[name.lower()])

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._by_name

    def all(self, name: str) -> list[str]:
        """Return the value of each line with this name."""
        return list(self._by_name.get(name.lower(), ()))

    def __repr__(self) -> str:
        return f"Fields({dict(self)!r})"


def _pair(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name, value.strip(b" \t")
