"""The shop answers right, its faults stand where the list says, and its launcher ends what it starts."""
