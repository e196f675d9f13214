"""Who may see the live page where the admin port has a token: browsers cannot send one with a page or an event stream.

The page asks for the token, and a cookie that is made of it stands for it from then on. The token itself is in no URL,
so in no history and no log, and in no cookie.
"""

import hashlib
import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from hasten.admin._address import AdminAddress

LONGEST_FORM = 4096
"""Bytes."""
_PURPOSE = b"hasten live page"


class Session:
    """The cookie of an admin port.

    Args:
      address: With the token; without one everybody may see the page.
    """

    def __init__(self, address: AdminAddress) -> None:
        self._token = address.token
        self._proof = hmac.new(address.token.encode(), _PURPOSE, hashlib.sha256).hexdigest()

    def admits(self, cookies: bytes, port: int) -> bool:
        """Whether a request with this Cookie field comes from a browser that has had the token.

        Args:
          port: That was asked; cookies are shared by all ports of a host, so the name has it.
        """
        if not self._token:
            return True
        try:
            found = SimpleCookie(cookies.decode("latin-1")).get(_name(port))
        except CookieError:
            return False
        return found is not None and hmac.compare_digest(found.value.encode(), self._proof.encode())

    def open(self, form: bytes, port: int) -> str:
        """Return the Set-Cookie of a form that has the token; empty where it has not."""
        given = parse_qs(form.decode("latin-1")).get("token", [""])[0].strip()
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            return ""
        return f"{_name(port)}={self._proof}; Path=/; HttpOnly; SameSite=Strict"


def _name(port: int) -> str:
    return f"hasten_admin_{port}"
