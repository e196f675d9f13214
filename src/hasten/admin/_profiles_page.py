"""The list of captures as a page, for who follows the link on the live page: no script, nothing fetched."""

import time
from collections.abc import Iterable
from html import escape

from hasten.profiling._store import Entry

POLICY = b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_STYLE = """
:root { color-scheme: light dark; --line: light-dark(#dfe4ea, #26303b); --muted: light-dark(#566272, #98a5b4); }
body { margin: 0 auto; max-width: 72rem; padding: 1.25rem; background: light-dark(#f4f6f8, #0c1015);
  color: light-dark(#17202b, #e7ecf2); font: 14px/1.45 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
a { color: light-dark(#0f766e, #2dd4bf); }
h1 { font-size: 19px; }
.card { overflow-x: auto; border: 1px solid var(--line); border-radius: 12px; background: light-dark(#fff, #141a21); }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .5rem .9rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
tr:last-child td { border-bottom: 0; }
th, .muted { color: var(--muted); font-weight: 400; }
td { overflow-wrap: anywhere; }
td:first-child, td:nth-child(3), td:last-child { white-space: nowrap; }
.failed { color: light-dark(#c01f2e, #ff7f87); }
"""
_NONE = (
    "<p>None yet. <code>hasten profile URL</code> makes one; <code>hasten.install(app, profile=True)</code> has them "
    "made when something is slow.</p>"
)


def profiles_page(service: str, entries: Iterable[Entry]) -> bytes:
    """Return the page that lists captures, in the order that they are given in."""
    rows = "".join(map(_row, entries))
    head = "<tr><th>started (UTC)<th>why<th>by<th>profile</tr>"
    table = f'<div class="card"><table>{head}{rows}</table></div>' if rows else _NONE
    title = f"{escape(service or 'hasten')}: profiles"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<style>{_STYLE}</style><h1>{title}</h1><p class="muted"><a href="./">Live</a></p>{table}'
    ).encode("utf-8", "replace")


def _row(entry: Entry) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(min(max(entry.started, 0.0), 4e9)))
    made = f"{escape(entry.engine)} {escape(entry.clock)}, {entry.seconds:.3g} s"
    why = f'<td class="{escape(entry.state)}">{escape(entry.about)}'
    return f'<tr><td>{when}{why}<td class="muted">{made}<td>{_links(entry)}</tr>'


def _links(entry: Entry) -> str:
    if entry.state != "done":
        return escape(entry.state)
    at = f"profiles/{escape(entry.id)}"
    forms = (("html", "flame graph"), ("json", "JSON"), ("speedscope", "speedscope"))
    return " \N{MIDDLE DOT} ".join([f'<a href="{at}?format={form}">{name}</a>' for form, name in forms])
