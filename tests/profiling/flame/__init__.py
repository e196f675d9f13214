"""The page of a profile: the tree, the document, and what a browser makes of it."""
