"""`python -m hasten` is the `hasten` command."""

from hasten.cli import main

if __name__ == "__main__":
    main()
