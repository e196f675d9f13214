"""The foundation under every package: errors, durations, histogram. Standard library only."""
