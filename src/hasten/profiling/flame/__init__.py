"""A profile, or what changed between two, as one HTML page: a flame graph, its tables, and nothing to fetch.

_tree    stacks become a tree without what is too narrow to be seen
_data    the tree, the tables and the texts as the script reads them
_page    one document of page.html, page.css, the scripts and that data
"""

from hasten.profiling.flame._page import difference_page, flame_page

__all__ = ("difference_page", "flame_page")
