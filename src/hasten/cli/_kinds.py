"""How the kinds of a request's time look in the terminal, everywhere alike."""

KIND_STYLES = {
    "waiting": "blue",
    "computing": "cyan",
    "blocking": "red",
    "preempted": "yellow",
    "cache": "magenta",
    "held": "bright_red",
    "queued": "bright_black",
    "thread-queued": "bright_yellow",
    "thread": "green",
    "collecting": "bright_magenta",
    "unread": "bright_blue",
    "unexplained": "white",
}
KIND_MARKS = dict(zip(KIND_STYLES, "█▓▒░▞▚▙▟▛▜▗▖", strict=True))
"""One for each kind, so that a bar can be read without colours."""
