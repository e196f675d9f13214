"""Reading the tags that an app names in a response field.

Caches in the network read such fields, too, and each has its own way: `Cache-Tag` of Cloudflare and CloudFront and
`Edge-Cache-Tag` of Akamai separate tags by commas, `Surrogate-Key` of Fastly by spaces. Both are read here, each line
by itself. They ignore what is beyond their bounds; here a response that has more than can be read is not kept, for it
would outlive an invalidation by the tag that was left out.
"""

import re
from collections.abc import Iterable

MOST_TAGS = 256
"""Tags of one response: each is looked at again when the response is asked for after any invalidation, at 0.1 µs."""

_TAG = re.compile(rb"[\x21-\x2b\x2d-\x7e]{1,200}")  # printable ASCII without the comma


def tags_in(lines: Iterable[bytes]) -> tuple[str, ...] | None:
    """Return the tags that a field's lines name, each once; None if one of them is no tag, or there are too many.

    A line with a comma is a list that commas separate, with blanks around them; any other is one that blanks separate.
    Nothing between two commas is no tag, and left out (RFC 9110 section 5.6.1). A blank within a member of the first
    kind is an error: it could stand between two tags or in one, and whoever guesses wrong never drops the response.
    """
    members: list[bytes] = []
    for line in lines:
        members += line.replace(b"\t", b" ").split(b"," if b"," in line else b" ")
    tags = dict.fromkeys(member for part in members if (member := part.strip(b" ")))
    if len(tags) > MOST_TAGS or not all(map(_TAG.fullmatch, tags)):
        return None
    return tuple([tag.decode("ascii") for tag in tags])
