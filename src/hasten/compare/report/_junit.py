"""The comparison as JUnit XML, as Jenkins and GitLab read it: a test case for each metric that is judged.

Worse is a failure, undecided is skipped, a measurement that is not valid is an error.
"""

import re
from xml.etree import ElementTree as Tree

from hasten.compare._result import Change, Comparison, Verdict
from hasten.compare.report import _words as words

# XML 1.0 has no way to write these, not even escaped (section 2.2).
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(comparison: Comparison) -> str:
    """Return the report as an XML document."""
    judged = [] if comparison.problems else [change for change in comparison.changes if not change.advisory]
    verdicts = [change.verdict for change in judged]
    suite = Tree.Element(
        "testsuite",
        name=_text(f"hasten compare: {comparison.before} to {comparison.after}"),
        tests=str(len(judged) + len(comparison.problems)),
        failures=str(verdicts.count(Verdict.WORSE)),
        skipped=str(verdicts.count(Verdict.UNDECIDED)),
        errors=str(len(comparison.problems)),
        time=f"{comparison.seconds:.3f}",
    )
    for change in judged:
        _add_case(suite, change)
    for problem in comparison.problems:
        case = Tree.SubElement(suite, "testcase", classname="measurement", name=_text(problem.check))
        Tree.SubElement(case, "error", message=_text(f"{problem.measured}; {problem.remedy}"))
    said = (words.headline(comparison), words.circumstances(comparison), *comparison.notes)
    Tree.SubElement(suite, "system-out").text = _text("\n".join(said))
    Tree.indent(suite)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{Tree.tostring(suite, encoding="unicode")}\n'


def _add_case(suite: Tree.Element, change: Change) -> None:
    case = Tree.SubElement(
        suite, "testcase", classname=_text(change.kind or words.ALL_KINDS), name=words.metric(change)
    )
    if change.verdict is Verdict.WORSE:
        Tree.SubElement(case, "failure", message=_text(words.sentence(change)))
    elif change.verdict is Verdict.UNDECIDED:
        Tree.SubElement(case, "skipped", message=_text(words.sentence(change)))


def _text(text: str) -> str:
    return _UNWRITABLE.sub("\ufffd", text)
