"""A request as the cache sees it: its key, and what its fields ask of the cache."""

from hasten.http._asgi import Scope
from hasten.http._cache_control import NOTHING, asked_directives, is_accepted
from hasten.http._conditions import not_modified_since, tag_matches
from hasten.http._fields import combined, values
from hasten.http._rules import Match
from hasten.http._stored import Key, StoredResponse

BEYOND_US = frozenset(
    (b"expect", b"if-match", b"if-range", b"if-unmodified-since", b"range", b"transfer-encoding", b"upgrade")
)
"""Fields whose requests are the app's alone (RFC 9110 sections 13.1 and 14.2 and 10.1.1)."""
_LONGEST_KEY_BYTES = 8192
CONDITIONS = frozenset((b"if-modified-since", b"if-none-match"))


class Request:
    """One request for which there is a rule.

    Attributes:
      scope: Of the request, with the part of the query alone that counts.
      key: Of its response in the region; of the request fields in `vary`, beside the URL.
      authorized, cookies: It has Authorization; a Cookie.
      directives: What its Cache-Control asks.
      passes: It is the app's alone, and nothing is kept.
      conditional: It wants the response only if that has changed.
    """

    __slots__ = (
        "_modified_since",
        "_none_match",
        "authorized",
        "conditional",
        "cookies",
        "directives",
        "key",
        "match",
        "passes",
        "scope",
        "vary",
    )

    def __init__(self, scope: Scope, match: Match, *, obeys: bool = True) -> None:
        """Look at a request.

        Args:
          obeys: Its Cache-Control counts.
        """
        active, headers = match.active, scope["headers"]
        query = active.query_of(scope["query_string"])
        if query != scope["query_string"]:
            scope = {**scope, "query_string": query}
        names = {name for name, _ in headers}
        self.scope = scope
        self.match = match
        self.authorized = b"authorization" in names
        self.cookies = b"cookie" in names
        self.directives = asked_directives(headers) if obeys else NOTHING
        self._none_match = values(headers, b"if-none-match")
        self._modified_since = combined(headers, b"if-modified-since")
        self.conditional = not names.isdisjoint(CONDITIONS)
        self.make_key()
        self.passes = (
            not match.keeps
            or scope["method"] not in active.rule.methods
            or not names.isdisjoint(BEYOND_US)
            or any(length.strip() != b"0" for length in values(headers, b"content-length"))
            or "no-store" in self.directives
            or sum(len(part) for part in self.key if isinstance(part, bytes)) > _LONGEST_KEY_BYTES
        )

    def make_key(self) -> None:
        """Make the key of the URL and the fields that responses are known to depend on now, as the hit path does.

        Both paths are in it: `/a%2Fb` is another resource than `/a/b`, and what rewrites `path` outside of the cache,
        for a language or a tenant, leaves `raw_path` as it was.
        """
        scope, active = self.scope, self.match.active
        host, root = combined(scope["headers"], b"host"), scope.get("root_path")
        self.key: Key = (scope.get("scheme"), host, root, scope["path"], raw_path(scope), scope["query_string"])
        self.vary = active.vary
        if self.vary:
            fields = {name: combined(scope["headers"], name) for name in self.vary}
            self.key = (*self.key, self.vary, *active.values_of(fields))

    @property
    def identity(self) -> tuple[Key, bool, bool]:
        """What counts for whether the response may be kept: the key, and which credentials there are."""
        return self.key, self.authorized, self.cookies

    @property
    def has_other_cookies(self) -> bool:
        """It has a Cookie for which the key does not stand."""
        return self.cookies and b"cookie" not in self.vary

    @property
    def head_only(self) -> bool:
        """It wants no body."""
        return bool(self.scope["method"] == "HEAD")

    @property
    def only_if_cached(self) -> bool:
        """The app is not to be asked (section 5.2.1.7)."""
        return "only-if-cached" in self.directives

    @property
    def wants_new(self) -> bool:
        """What is kept will not do (section 5.2.1.4)."""
        return "no-cache" in self.directives

    @property
    def is_current(self) -> bool:
        """Whether the key is made of all fields that responses are known to depend on."""
        return self.vary is self.match.active.vary

    def may_have(self, stored: StoredResponse) -> bool:
        """Whether a response is for requests with such credentials."""
        return (stored.for_authorized or not self.authorized) and (stored.for_cookies or not self.has_other_cookies)

    def accepts(self, stored: StoredResponse, now: float) -> bool:
        """Whether a response, fresh or as stale as may be served, is good enough for this client (section 5.2.1)."""
        return is_accepted(self.directives, max(now - stored.born, 0.0), stored.lifetime)

    def has(self, stored: StoredResponse) -> bool:
        """Whether the client has this response already (RFC 9110 section 13.2.2)."""
        if not self.conditional or not 200 <= stored.status < 300:
            return False
        if self._none_match:
            return tag_matches(self._none_match, stored.field(b"etag"))
        since = self._modified_since
        return since is not None and not_modified_since(since, stored.field(b"last-modified"))

    def scope_for_all(self) -> Scope:
        """Return the scope in which the app makes the whole response, for everybody with this key."""
        if not self.conditional and self.scope["method"] == "GET":
            return self.scope
        return {
            **self.scope,
            "method": "GET",
            "headers": [pair for pair in self.scope["headers"] if pair[0] not in CONDITIONS],
        }

    def scope_without_client(self) -> Scope:
        """Return a scope in which the app makes the response while nobody waits: a GET without extensions."""
        scope = {**self.scope_for_all(), "client": None, "extensions": {}}
        if "state" in scope:
            scope["state"] = dict(scope["state"])
        return scope


def raw_path(scope: Scope) -> bytes:
    """Return the path as it was sent; as it is decoded, if the server does not say."""
    raw: bytes | None = scope.get("raw_path")
    return raw or str(scope["path"]).encode("utf-8", "surrogatepass")
