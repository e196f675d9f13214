"""What a member concludes from ticks, without a server: against what an observer of all clocks would know."""

from hypothesis import given
from hypothesis import strategies as st

from hasten.cache.backplanes._standing import Standing

PERIOD = 1.0


def test_over() -> None:
    """Beats are over a period after we have learnt of them, not before, and our own last one never is."""
    standing = Standing(PERIOD)
    standing.beaten(7, 10.0, stood=False)
    standing.beaten(9, 10.5, stood=True)
    assert standing.over(10.9) == 0
    assert standing.over(11.0) == 7
    assert standing.over(11.4) == 7
    assert standing.over(11.5) == 8
    assert standing.tick == 9


def test_nothing_before_the_first_beat() -> None:
    """Whoever is not in the set knows of nothing that is over."""
    assert Standing(PERIOD).over(99.0) == 0


def test_first_knowledge_counts() -> None:
    """A tick that we hear of again is as old as it was."""
    standing = Standing(PERIOD)
    standing.beaten(1, 10.0, stood=False)
    for tenth in range(8):
        standing.saw(5, 10.1 + tenth / 10)
    standing.beaten(6, 11.0, stood=True)
    assert standing.over(11.1) == 5


def test_coming_in_again() -> None:
    """Whoever was not in the set any more forgets what it knew: the ticks may be others now."""
    standing = Standing(PERIOD)
    standing.beaten(500, 10.0, stood=False)
    standing.beaten(501, 11.5, stood=True)
    assert standing.over(11.5) == 500
    standing.beaten(2, 12.0, stood=False)
    assert standing.over(12.9) == 0
    standing.beaten(3, 13.0, stood=True)
    assert standing.over(13.0) == 2


_steps = st.lists(
    st.tuples(
        st.floats(0.0, 0.7),  # time that passes
        st.sampled_from(["other beats", "we beat", "we look"]),
        st.floats(0.0, 0.4),  # time until we know
    ),
    max_size=40,
)


@given(_steps)
def test_only_what_is_old_is_over(steps: list[tuple[float, str, float]]) -> None:
    """No beat is over before a period has passed since it was taken; each is soon after we have seen a later one."""
    standing = Standing(PERIOD)
    now, taken, known = 0.0, [0.0], [0.0]  # when each tick was taken, and when we knew of it or of a later one
    standing.beaten(0, 0.0, stood=False)
    for seconds, step, delay in steps:
        now += seconds
        if step == "other beats":
            taken.append(now)
            continue
        if step == "we beat":
            taken.append(now)
        now += delay
        last = len(taken) - 1
        known += [now] * (len(taken) - len(known))
        if step == "we beat":
            standing.beaten(last, now, stood=True)
        else:
            standing.saw(last, now)
        over = standing.over(now)
        assert all(moment + PERIOD <= now for moment in taken[1 : over + 1])
        assert over >= max([0, *(tick for tick in range(standing.tick) if known[tick] + PERIOD <= now)])
