"""Time that tests move."""


class Clock:
    """Seconds, moved by whoever sets `now`."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
