"""What the fast edition's services say to each other; the Python code is made by `scripts/protos`."""
