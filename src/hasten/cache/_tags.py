"""What the process knows of tags' versions."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b

Versions = tuple[tuple[str, int], ...]
_LONGEST_TAG = 200


def plain_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return tags as every store takes them: those that are no short printable ASCII without spaces are digested."""
    return tuple([tag if _is_plain(tag) else _digested(tag) for tag in tags])


def _is_plain(tag: str) -> bool:
    return tag.isascii() and tag.isprintable() and 0 < len(tag) <= _LONGEST_TAG and " " not in tag


def _digested(tag: str) -> str:
    return f"digest:{blake2b(tag.encode('utf-8', 'surrogatepass'), digest_size=20).hexdigest()}"


class TagTable:
    """The version of each tag that is known here: the store's (above 0), or one made here (below 0) for want of that.

    It is bounded: what is forgotten counts as changed, so that entries with such a tag are loaded again.

    Args:
      most: How many tags are remembered.
    Attributes:
      on_newer: Called with tags that turn out to have been raised by somebody else.
    """

    def __init__(self, most: int = 100_000) -> None:
        self._most = most
        self._versions: OrderedDict[str, int] = OrderedDict()
        self._made = 0
        self.on_newer: Callable[[Sequence[str]], None] = lambda _: None

    def learn(self, tag: str, version: int) -> None:
        """Note a version of the store's; of two the later one counts, whatever came first."""
        self._set(tag, max(version, self._versions.get(tag, 0)))

    def renew(self, tag: str) -> None:
        """Give a tag a version of our own that it never had: what has an earlier one is not current any more."""
        self._made -= 1
        self._set(tag, self._made)

    def of(self, tags: Iterable[str]) -> Versions:
        """Return tags with their versions; those that are not known get one of our own."""
        return tuple((tag, self._version_of(tag)) for tag in tags)

    def _version_of(self, tag: str) -> int:
        if tag not in self._versions:
            self.renew(tag)
        return self._versions[tag]

    def are_current(self, versions: Versions) -> bool:
        """Whether these are the tags' versions still."""
        known = self._versions
        return all(known.get(tag) == version for tag, version in versions)

    def learn_all(self, tags: Sequence[str], versions: Sequence[int]) -> Versions:
        """Note versions that the store has given for tags; return them as pairs."""
        known = self._versions
        newer = [tag for tag, version in zip(tags, versions, strict=True) if known.get(tag, version) < version]
        for tag, version in zip(tags, versions, strict=True):
            self.learn(tag, version)
        if newer:
            self.on_newer(newer)
        return tuple(zip(tags, versions, strict=True))

    def _set(self, tag: str, version: int) -> None:
        self._versions[tag] = version
        self._versions.move_to_end(tag)
        if len(self._versions) > self._most:
            self._versions.popitem(last=False)

    def __len__(self) -> int:
        return len(self._versions)
