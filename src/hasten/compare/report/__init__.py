"""Forms of a comparison's report: one module each, the same words in all (_words).

_text       a table on a terminal
_markdown   a pull request's comment
_github     annotations of a workflow
_junit      test cases, for other CI
_html       a page with what every pair measured (_drawing)
"""

from hasten.compare.report._github import github_lines
from hasten.compare.report._html import html_page
from hasten.compare.report._junit import junit_xml
from hasten.compare.report._markdown import markdown
from hasten.compare.report._text import print_comparison

__all__ = ("github_lines", "html_page", "junit_xml", "markdown", "print_comparison")
