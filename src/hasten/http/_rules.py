"""Rules: which responses are kept, for how long, and what tells one from another."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from operator import itemgetter
from urllib.parse import parse_qsl, quote, urlencode

from hasten._core.errors import ConfigurationError
from hasten.cache import Policy
from hasten.http._fields import compared
from hasten.http._paths import path_pattern

TagsOf = Callable[[Mapping[str, str]], Iterable[str]]

_FIELD_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+")
_TAG = re.compile(r"[\x21-\x7e]{1,200}")
_TAG_SAFE = "-._~:/@!$&'()*+,;="
_PATH_TAGS = 1 << 14
_MOST_VARY = 8
_MOST_QUERIES = 10_000  # remembered for each rule; then it begins anew
_LONGEST = 1024  # characters of a path or query that is remembered, so that nobody fills the memory with long ones
_LEASE = 5.0  # seconds for which other processes wait for a load of this one

# What a request may carry that asks for more than "the response, if you have it".
_SPECIAL = frozenset(
    b"authorization cache-control content-length expect if-match if-modified-since if-none-match if-range "
    b"if-unmodified-since pragma range transfer-encoding upgrade".split()
)


@dataclass(frozen=True, slots=True)
class Rule:
    """Keeps the responses to GET of the paths that match; durations in seconds.

    A response's own Cache-Control and Expires decide how long it lives; `ttl`, `stale` and `stale_if_error` are for
    what it does not say, and with `override` for the rest as well. Never kept, whatever a rule says: what is private or
    no-store, sets a cookie, is partial, or answers a request with Authorization without saying that it is for all.

    Args:
      path: As in Starlette's routes: `/products/{id}`, `/files/{name:path}`, with str, int, float, uuid, path.
      ttl: Fresh so long, if the response has a status of `statuses`; None keeps only what says itself how long.
      stale: Then served for so long while it is renewed in the background (RFC 5861 section 3).
      stale_if_error: Then, or if this is longer, served for so long when the app fails (RFC 5861 section 4).
      tags: For `Cache.invalidate_tags`: texts in which `{id}` stands for the path's parameter, or a function of the
        parameters. What is not printable ASCII in a parameter is percent-encoded.
      vary: Request fields that the response depends on, beside those that its Vary names.
      query: Names of query parameters that count; the app does not see the others. None: the query as it is sent.
      methods: What is answered from the cache, from responses to GET: GET, or GET and HEAD.
      statuses: Statuses that `ttl` is for.
      cookies: Requests with a Cookie share responses that do not say whether they are for all. Without it such
        responses are for requests without a Cookie alone, and nobody gets the page of another one's session.
      override: `ttl`, `stale` and `stale_if_error` count whatever the response says of its life.
      tag_header: A response field in which the app names more tags, separated by commas (`Cache-Tag`) or spaces
        (`Surrogate-Key`): up to 256, of up to 200 printable ASCII characters without commas. A response without the
        field, or with one that cannot be read, is not kept. Clients do not get the field.
      send_tags: They do get it, as a cache in front of this one that reads it, too.
    Raises:
      ConfigurationError: one of these is wrong.
    """

    path: str
    ttl: float | None = None
    stale: float = 0.0
    stale_if_error: float = 0.0
    tags: Sequence[str] | TagsOf = ()
    vary: Sequence[str] = ()
    query: Sequence[str] | None = None
    methods: Sequence[str] = ("GET", "HEAD")
    statuses: Sequence[int] = (200, 203, 204, 300, 301, 308)
    cookies: bool = False
    override: bool = False
    tag_header: str | None = None
    send_tags: bool = False
    pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)
    _tags_of: TagsOf = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.ttl is None and self.override:
            raise self._wrong("override without a ttl", "give ttl=")
        if isinstance(self.methods, str) or not {"GET"} <= set(self.methods) <= {"GET", "HEAD"}:
            raise self._wrong(f"methods={self.methods!r}", 'give ("GET",) or ("GET", "HEAD")')
        for name in ("ttl", "stale", "stale_if_error"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value < math.inf:
                raise self._wrong(f"{name}={value}", "give seconds from 0")
        if isinstance(self.vary, str) or not all(_FIELD_NAME.fullmatch(name.lower()) for name in self.vary):
            raise self._wrong(f"vary={self.vary!r}", 'give names of request fields: vary=("accept-language",)')
        if self.tag_header is not None and not _FIELD_NAME.fullmatch(self.tag_header.lower()):
            raise self._wrong(f"tag_header={self.tag_header!r}", 'give a response field: tag_header="cache-tag"')
        if self.send_tags and self.tag_header is None:
            raise self._wrong("send_tags without a field", 'give tag_header=, for example tag_header="cache-tag"')
        if isinstance(self.query, str):
            raise self._wrong(f"query={self.query!r}", f'give a tuple: query=("{self.query}",)')
        object.__setattr__(self, "pattern", path_pattern(self.path, self._wrong))
        object.__setattr__(self, "_tags_of", self.tags if callable(self.tags) else self._templates(self.tags))

    def tags_of(self, parameters: Mapping[str, str]) -> tuple[str, ...]:
        """Return the tags of a path, as they are given."""
        return tuple(self._tags_of(parameters))

    def _wrong(self, problem: str, remedy: str) -> ConfigurationError:
        return ConfigurationError(f"Rule {self.path}", problem, remedy)

    def _templates(self, templates: Sequence[str]) -> TagsOf:
        if isinstance(templates, str):
            raise self._wrong(f"tags={templates!r}", f'give a tuple: tags=("{templates}",)')
        for template in templates:
            try:
                tag = template.format_map(dict.fromkeys(self.pattern.groupindex, "1"))
            except (KeyError, ValueError, IndexError, AttributeError) as error:
                raise self._wrong(f"tag {template!r} does not fit the path: {error}", "use its parameters") from error
            if not _TAG.fullmatch(tag):
                raise self._wrong(f"tag {template!r}", "give up to 200 printable ASCII characters without spaces")

        def tags(parameters: Mapping[str, str]) -> Iterable[str]:
            safe = {name: quote(value, safe=_TAG_SAFE) for name, value in parameters.items()}
            return [template.format_map(safe) for template in templates]

        return tags


class ActiveRule:
    """A rule in use by one cache, with what that has learned of the responses.

    Attributes:
      rule: The rule.
      policy: For the loads.
      special: Request fields that need a closer look than the hit path's.
      vary: Request fields that are part of the key, sorted: the rule's, and those that responses have named since.
      tag_field: The response field that names tags; None without one.
      hidden: The same if clients do not get it.
    """

    __slots__ = ("_queries", "hidden", "policy", "rule", "special", "tag_field", "vary")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.policy = Policy(ttl=rule.ttl or 0.0, stale=rule.stale, stale_if_error=rule.stale_if_error, lease=_LEASE)
        self.special = _SPECIAL if rule.cookies else _SPECIAL | {b"cookie"}
        self.vary = tuple(sorted({name.lower().encode() for name in rule.vary}))
        self.tag_field = rule.tag_header.lower().encode() if rule.tag_header is not None else None
        self.hidden = None if rule.send_tags else self.tag_field
        self._queries: dict[bytes, bytes] = {}

    def learn(self, names: Iterable[bytes]) -> bool:
        """Make these request fields part of all keys from now on; False if there would be too many."""
        vary = tuple(sorted({*self.vary, *names}))
        if len(vary) > _MOST_VARY:
            return False
        self.vary = vary
        return True

    def values_of(self, fields: Mapping[bytes, bytes | None]) -> tuple[bytes | None, ...]:
        """Return the values of the fields in `vary` as they are compared."""
        return tuple([compared(name, fields.get(name)) for name in self.vary])

    def query_of(self, query: bytes) -> bytes:
        """Return the part of a query that counts; 0.1 µs for one that was seen, 5 µs for another."""
        if self.rule.query is None or not query:
            return query
        known = self._queries.get(query)
        if known is None:
            known = _part_of_query(query, self.rule.query)
            if len(query) <= _LONGEST:
                if len(self._queries) >= _MOST_QUERIES:
                    self._queries.clear()
                self._queries[query] = known
        return known


def _part_of_query(query: bytes, names: Sequence[str]) -> bytes:
    """Return the named parameters of a query, sorted by their names; those of one name as they were sent."""
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return urlencode(sorted((pair for pair in pairs if pair[0] in names), key=itemgetter(0))).encode()


class Match:
    """A path with the first rule that it matches.

    Attributes:
      active: The rule.
      tags: The rule's tags of this path and the path's own.
      keeps: False if one of the rule's is no tag: what cannot be dropped by all of them is not kept.
    """

    __slots__ = ("active", "keeps", "tags")

    def __init__(self, active: ActiveRule, path: str, parameters: Mapping[str, str]) -> None:
        given = active.rule.tags_of(parameters)
        tags = [tag for tag in given if _TAG.fullmatch(tag)]
        self.active = active
        self.tags = (*tags, path_tag(path))
        self.keeps = len(tags) == len(given)


class RuleTable:
    """Finds the rule of a path; 0.1 µs for a path that it has seen.

    Args:
      most: How many paths are remembered, none of them long; then it begins anew, so that nobody can fill it.
    """

    def __init__(self, rules: Iterable[Rule], most: int = 10_000) -> None:
        self._active = [ActiveRule(rule) for rule in rules]
        self._most = most
        self.seen: dict[str, Match | None] = {}

    def __getitem__(self, path: str) -> Match | None:
        """Return the first rule that matches a whole path; None if none does."""
        try:
            return self.seen[path]
        except KeyError:
            pass
        match = self._find(path)
        if len(path) <= _LONGEST:
            if len(self.seen) >= self._most:
                self.seen.clear()
            self.seen[path] = match
        return match

    def _find(self, path: str) -> Match | None:
        for active in self._active:
            found = active.rule.pattern.fullmatch(path)
            if found is not None:
                return Match(active, path, found.groupdict())
        return None


def path_tag(path: str) -> str:
    """Return the tag that all responses under a path have, whatever host, query and request fields they are for.

    It is one of 16,384, so that as many paths as one likes take no more tags than that: invalidating one path makes
    every 16,384th other one load anew.
    """
    digest = blake2b(path.encode("utf-8", "surrogatepass"), digest_size=4).digest()
    return f"http.path:{int.from_bytes(digest, 'big') % _PATH_TAGS}"
