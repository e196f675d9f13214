"""The page as one document: style, script and data are in it, nothing is fetched, and no other script may run."""

import base64
import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from importlib.resources import files

import msgspec

from hasten._core.durations import format_duration
from hasten._core.version import __version__
from hasten.profiling._diff import Change, Difference
from hasten.profiling._functions import callers, functions, is_sampled, short_place
from hasten.profiling._profile import Frame, Profile
from hasten.profiling.flame._data import Page, cut, difference_data, profile_data

_MOST_LABELS = 24
_NEARLY_ALL = 0.8
_SCRIPTS = ("texts.js", "tree.js", "colours.js", "graph.js", "table.js", "page.js")
_LONGEST_IN_SENTENCE = 90  # characters of a name


def flame_page(profile: Profile) -> str:
    """Return a profile as a page."""
    name = profile.service or "profile"
    facts = list(_facts(profile))
    data = profile_data(profile)
    return _filled(f"{name}: hasten profile", "profile", _verdict(profile), facts, profile.labels, profile.notes, data)


def difference_page(difference: Difference) -> str:
    """Return what changed between two profiles as a page."""
    name = difference.service or "profiles"
    facts = list(_compared_facts(difference))
    data = difference_data(difference)
    verdict = _change(difference)
    return _filled(f"{name}: hasten profile diff", "profile diff", verdict, facts, {}, difference.notes, data)


# ---- texts, escaped


def _verdict(profile: Profile) -> str:
    """Return what takes most, in one sentence."""
    found = [one for one in functions(profile) if one.own > 0]
    if not found:
        return "Nothing was recorded"
    worst = found[0]
    caller = callers(profile).get((worst.frame.function, worst.frame.file, worst.kind))
    share = worst.own / profile.spent if profile.spent else 0.0
    what = f"{escape(worst.kind)} in {_code(worst.frame.function)}" if worst.kind else _code(worst.frame.function)
    by = f", called by {_code(caller.function)} at {_code(short_place(caller))}," if caller else _at(worst.frame)
    time = "CPU time" if profile.clock == "cpu" else "time"
    return f"{what[0].upper() + what[1:] if worst.kind else what}{by} takes {_percent(share)} of the {time}"


def _change(difference: Difference) -> str:
    before, after = difference.before.spent, difference.after.spent
    if not after:
        return "Nothing was recorded after"
    if not before:
        return _takes(difference)
    grown = after / before - 1.0
    way = "more" if grown > 0 else "less"
    said = "as before" if abs(grown) < 0.005 else f"{_percent(abs(grown))} {way} than before"
    return f"{_takes(difference)}, {said}{_most_changed(difference)}"


def _takes(difference: Difference) -> str:
    after = format_duration(difference.after.spent)
    if difference.per == "request":
        return f"A request takes {after}"
    return (
        f"It uses {after} of CPU time a second" if difference.clock == "cpu" else f"Its threads spend {after} a second"
    )


def _most_changed(difference: Difference) -> str:
    """Return which function changed most, and in which kind of time if that is nearly all of it."""
    by_function: dict[tuple[str, str], list[Change]] = {}
    for one in difference.changes:
        if one.sure and one.change:
            by_function.setdefault((one.frame.function, one.frame.file), []).append(one)
    if not by_function:
        return ""
    (name, _), found = max(by_function.items(), key=lambda item: abs(sum(one.change for one in item[1])))
    whole = sum(one.change for one in found)
    most = max(found, key=lambda one: abs(one.change))
    kind = f"{escape(most.kind)} in " if most.kind and most.change / (whole or 1.0) > _NEARLY_ALL else ""
    return f"; most {'grew' if whole > 0 else 'shrank'} {kind}{_code(name)}, by {format_duration(abs(whole))}"


def _at(frame: Frame) -> str:
    return f" at {_code(short_place(frame))}" if frame.file else ""


def _code(text: str) -> str:
    return f"<code>{escape(cut(text, _LONGEST_IN_SENTENCE))}</code>"


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %" if share >= 0.1 else f"{share * 100:.1f} %"


def _facts(profile: Profile) -> Iterator[tuple[str, str]]:
    yield "Service", profile.service
    yield "Engine", profile.engine
    yield "Clock", "CPU time" if profile.clock == "cpu" else "wall-clock time"
    yield "Begun", _moment(profile.started)
    yield "Length", format_duration(profile.seconds) if profile.seconds else ""
    yield "Requests", f"{profile.answered:,}" if profile.answered else ""
    yield "A request", format_duration(profile.spent / profile.answered) if profile.answered else ""
    samples = sum(stack.count for stack in profile.stacks)
    yield "Samples", f"{samples:,}" if is_sampled(profile) else ""


def _compared_facts(difference: Difference) -> Iterator[tuple[str, str]]:
    yield "Service", difference.service
    yield "Engine", difference.engine
    yield "Clock", "CPU time" if difference.clock == "cpu" else "wall-clock time"
    yield "Endpoint", difference.endpoint
    for name, side in (("Before", difference.before), ("After", difference.after)):
        requests = f"{side.requests:,} requests" if side.requests else ""
        length = format_duration(side.seconds) if side.seconds else ""
        yield name, ", ".join(part for part in (_moment(side.started), length, requests) if part)


def _moment(seconds: float) -> str:
    if not 0 < seconds < 32503680000:  # the year 3000
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


# ---- the document


def _filled(
    title: str,
    command: str,
    verdict: str,
    facts: Iterable[tuple[str, str]],
    labels: Mapping[str, str],
    notes: Iterable[str],
    data: Page,
) -> str:
    style, script = _read("page.css"), _script()
    own = f"script-src {_hash(script)}; style-src {_hash(style)}"
    parts = {
        "POLICY": f"default-src 'none'; {own}; img-src data:; base-uri 'none'; form-action 'none'",
        "TITLE": escape(title),
        "COMMAND": escape(command),
        "VERDICT": verdict,
        "FACTS": "".join(_fact(name, value) for name, value in facts if value),
        "LABELS": _chips(labels),
        "NOTES": "".join(f"<li>{escape(cut(note))}</li>" for note in _told(notes, data)),
        "VERSION": escape(__version__),
        "STYLE": style,
        "SCRIPT": script,
        "DATA": _safe(data),
    }
    page = _read("page.html")
    pieces = page.split("__")
    return "".join(piece if at % 2 == 0 else parts[piece] for at, piece in enumerate(pieces)) + "\n"


def _told(notes: Iterable[str], data: Page) -> Iterator[str]:
    yield from notes
    if data.hidden:
        yield f"{data.hidden:,} stacks end in (smaller), as the rest of them is too narrow to be seen; tables have all."


def _fact(name: str, value: str) -> str:
    return f"<div><dt>{escape(name)}</dt><dd>{escape(cut(value))}</dd></div>"


def _chips(labels: Mapping[str, str]) -> str:
    shown = list(labels.items())[:_MOST_LABELS]
    return "".join(f"<li>{escape(cut(name))} <b>{escape(cut(value))}</b></li>" for name, value in shown)


def _safe(data: Page) -> str:
    """Return JSON that may stand in a script element: a function may be called </script>."""
    text = msgspec.json.encode(data).decode()
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _script() -> str:
    parts = "\n\n".join(_read(name) for name in _SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}\n}})();'


def _read(name: str) -> str:
    return files("hasten.profiling.flame").joinpath(name).read_text(encoding="utf-8").strip()


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
