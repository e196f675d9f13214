"""The doctor's reports: for a terminal, as an HTML page, as GitHub annotations, as JSON."""

from hasten.diagnose.report._explanations import explanations
from hasten.diagnose.report._github import github_lines
from hasten.diagnose.report._html import html_page
from hasten.diagnose.report._report import ClientGap, Environment, LoadSummary, Report
from hasten.diagnose.report._terminal import print_report

__all__ = (
    "ClientGap",
    "Environment",
    "LoadSummary",
    "Report",
    "explanations",
    "github_lines",
    "html_page",
    "print_report",
)
