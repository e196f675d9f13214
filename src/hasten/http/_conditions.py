"""Conditional requests: whether what the client has is what we have (RFC 9110 section 13, RFC 9111 section 4.3)."""

import re
from base64 import b64encode
from collections.abc import Iterable
from hashlib import blake2b

from hasten.http._fields import http_date

_TAG = re.compile(rb'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_DIGEST_BYTES = 12  # each byte of a field costs the server time to check and the network its place


def tag_matches(conditions: Iterable[bytes], etag: bytes | None) -> bool:
    """Whether one of the tags of If-None-Match is this one, by weak comparison; `*` is any that there is.

    Args:
      conditions: The lines of If-None-Match: lists of tags, strong or weak. What is no tag matches nothing.
    """
    opaque = None if etag is None else opaque_tag(etag)
    for line in conditions:
        if line.strip() == b"*":
            return True
        if opaque is not None and opaque in _TAG.findall(line):
            return True
    return False


def not_modified_since(condition: bytes, last_modified: bytes | None) -> bool:
    """Whether nothing has changed since the date of If-Modified-Since; False if a date is missing or broken."""
    since = http_date(condition)
    changed = None if last_modified is None else http_date(last_modified)
    return since is not None and changed is not None and changed <= since


def strong_tag(identity: bytes, body: bytes) -> bytes:
    """Return a strong ETag of a body; the same in each process, 1 µs for a body of 1 KB.

    Args:
      identity: Tells this representation from others with the same body: the URL, the content coding and type. A tag
        that another URL gave out is never taken for this one's.
    """
    digest = blake2b(b"%d:%b" % (len(identity), identity), digest_size=_DIGEST_BYTES)
    digest.update(body)
    return b'"%b"' % b64encode(digest.digest())


def opaque_tag(etag: bytes) -> bytes | None:
    """Return an entity tag without its mark of weakness; None if it is no tag."""
    match = _TAG.fullmatch(etag.strip())
    return None if match is None else match[1]
