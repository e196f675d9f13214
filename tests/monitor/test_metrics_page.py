"""docs/reference/metrics.md says what is so: every metric with its type, unit, labels, bound and help; all buckets."""

import re

from hasten.monitor import CATALOGUE
from hasten.monitor._metric import OTHER
from tests.monitor.metrics_page import PAGE, SECTIONS, buckets, with_tables

TEXT = PAGE.read_text()


def test_the_tables_are_the_catalogue() -> None:
    """The page has the tables that the catalogue gives; `python -m tests.monitor.metrics_page` writes them."""
    assert with_tables(TEXT) == TEXT
    assert len(re.findall(r"^\| `\w+` \|", TEXT.split("<!-- end -->")[0], re.MULTILINE)) == len(CATALOGUE)


def test_each_section_has_its_metric() -> None:
    """No heading is lost when a metric gets another name."""
    assert SECTIONS.keys() <= {metric.name for metric in CATALOGUE}
    assert re.findall(r"^### (.*)$", TEXT.split("<!-- end -->")[0], re.MULTILINE) == list(SECTIONS.values())


def test_buckets() -> None:
    """Each histogram stands behind the bounds that it has."""
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ([\d., ]+) \|$", TEXT, re.MULTILINE)
    said = {name: bounds for names, bounds in rows for name in re.findall(r"`(\w+)`", names)}
    assert said == {name: ", ".join(f"{bound:g}" for bound in bounds) for name, bounds in buckets()}


def test_what_is_folded() -> None:
    """The name of the series for all others is the one that is used."""
    assert f"`{OTHER}`" in TEXT
