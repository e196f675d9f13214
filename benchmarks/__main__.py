"""`python -m benchmarks`."""

from benchmarks._command import main

if __name__ == "__main__":
    main()
