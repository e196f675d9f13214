"""The live page as one document: styles, scripts and the last five minutes are in it, nothing is fetched."""

import base64
import hashlib
from pathlib import Path

_FOLDER = Path(__file__).parent
_STORY = "__STORY__"


class Page:
    """The documents that browsers get. Reads files: not on an event loop."""

    def __init__(self) -> None:
        style = _read("vendor/uPlot.min.css") + _read("page.css")
        scripts = (_read("vendor/uPlot.iife.min.js"), _read("page.js"))
        filled = _read("page.html").replace("__STYLE__", style)
        for name, script in zip(("__UPLOT__", "__SCRIPT__"), scripts, strict=True):
            filled = filled.replace(name, script)
        self._before, self._behind = filled.split(_STORY)
        self._login = _read("login.html").replace("__STYLE__", style)
        self.policy = _policy(style, scripts)
        """The Content-Security-Policy of both: these scripts and styles by their hashes, and no others."""

    def render(self, story: bytes) -> bytes:
        """Return the page with what has been so far in it.

        Args:
          story: A `Story` as JSON.
        """
        safe = story.decode().replace("<", "\\u003c")  # a route may hold </script>
        return (self._before + safe + self._behind).encode()

    def login(self, problem: str = "") -> bytes:
        """Return the page that asks for the token."""
        return self._login.replace("__PROBLEM__", problem).encode()


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8").strip()


def _policy(style: str, scripts: tuple[str, ...]) -> str:
    allowed = " ".join(_hash(script) for script in scripts)
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; connect-src 'self'; img-src data:; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
