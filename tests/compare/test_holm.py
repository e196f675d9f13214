from hasten.compare._holm import level, proven
from hasten.compare._looks import Look

PLAIN = (Look(40, 1.0),)


def test_levels_of_the_grid_lie_just_below() -> None:
    """A level loses at most 4.3 % to the grid."""
    for exact in (0.05, 0.0167, 0.0012):
        assert exact * 0.957 < level(exact) <= exact


def test_parts_that_are_proven_are_handed_on() -> None:
    """With equal parts of three it is Holm's procedure: alpha / 3, then / 2, then all of it."""
    parts = dict.fromkeys("abc", 1.0)
    assert proven(0.05, PLAIN, parts, {"a": [0.01], "b": [0.02], "c": [0.04]}) == {"a", "b", "c"}
    assert proven(0.05, PLAIN, parts, {"a": [0.02], "b": [0.02], "c": [0.02]}) == set()
    assert proven(0.05, PLAIN, parts, {"a": [0.01], "b": [0.03], "c": [0.03]}) == {"a"}


def test_a_larger_part_needs_less() -> None:
    """What has two thirds of alpha is proven where an equal share would not do."""
    assert proven(0.05, PLAIN, {"cpu": 2.0, "p50": 1.0}, {"cpu": [0.03], "p50": [0.9]}) == {"cpu"}
    assert proven(0.05, PLAIN, {"cpu": 1.0, "p50": 1.0}, {"cpu": [0.03], "p50": [0.9]}) == set()


def test_what_was_proven_stays_so() -> None:
    """A look that crossed counts, whatever later looks show."""
    looks = (Look(20, 0.5), Look(40, 1.0))
    assert proven(0.05, looks, {"cpu": 1.0}, {"cpu": [0.0001, 0.2]}) == {"cpu"}
    assert proven(0.05, looks, {"cpu": 1.0}, {"cpu": [0.02, 0.2]}) == set()  # the first look allows 0.6 %
