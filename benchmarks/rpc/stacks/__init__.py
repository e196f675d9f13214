"""One module for each stack; `_stack.find_stack` loads the one that is asked for, and no other."""
