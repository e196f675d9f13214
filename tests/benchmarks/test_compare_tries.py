"""The tries of a comparison outlive the run that made them."""

from pathlib import Path

from benchmarks.compare_tries import Kept, Try, table


def test_tries_are_kept_and_counted(tmp_path: Path) -> None:
    """Each try is in the file as it ends; a later run has it, and the table counts all of them by verdict."""
    file = tmp_path / "tries.jsonl"
    first = Kept(file)
    first.add(Try("0%", "same", pairs=30, seconds=150.0, cpu=0.001, p50=-0.004))
    first.add(Try("0%", refused="generator's lateness: p99 9 ms"))
    second = Kept(file)
    second.add(Try("0%", "undecided", pairs=36, seconds=180.0, cpu=0.01, p50=0.02))

    again = Kept(file)
    assert again.tries == second.tries == [*first.tries, second.tries[-1]]
    assert [len(again.of(variant)) for variant in ("0%", "5%")] == [3, 0]
    header, _, row, other = table(again, ["0%", "5%"]).splitlines()
    cells = dict(zip(header.split(" | "), row.split(" | "), strict=True))
    assert (cells["tries"], cells["same"], cells["undecided"], cells["not valid"]) == ("3", "1", "1", "1")
    assert cells["pairs"] == "33 (30 to 36)"
    assert other.startswith("| +5% | 0 | 0 ")
