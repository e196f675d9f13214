"""The doctor: from recorded accounts and source files to ranked causes of lost time, and reports about them.

`diagnose` is pure; `examine` starts a service, drives it and diagnoses what it recorded, `examine_recordings`
does so with recordings made earlier; `hasten.diagnose.report` shows the result. `check` is the static half alone.
"""

from hasten.diagnose._diagnose import diagnose
from hasten.diagnose._diagnosis import Diagnosis, EndpointSummary, KindSummary, LineSummary
from hasten.diagnose._finding import Finding, Prediction, Severity
from hasten.diagnose._rule import Candidate, Rule
from hasten.diagnose._session import Announce, Subject, examine, examine_recordings
from hasten.diagnose._source import Module
from hasten.diagnose._static import Selection, StaticReport, Unreadable, check

__all__ = (
    "Announce",
    "Candidate",
    "Diagnosis",
    "EndpointSummary",
    "Finding",
    "KindSummary",
    "LineSummary",
    "Module",
    "Prediction",
    "Rule",
    "Selection",
    "Severity",
    "StaticReport",
    "Subject",
    "Unreadable",
    "check",
    "diagnose",
    "examine",
    "examine_recordings",
)
