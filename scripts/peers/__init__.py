"""The foreign peers that tests run against hasten: where they come from, where they are kept.

`versions.toml` pins the Go peers and `grpc_js` and `axe_core` the Node ones; `_tools.py` says for each how it is found,
`_builds.py` builds what is missing, `_machine.py` is shared with the servers of `scripts/services`, the only user.
Standard library only, because this also runs where nothing is installed yet.
"""

from peers._builds import build
from peers._machine import (
    end,
    install_packages,
    last_words,
    may_use_apt,
    on_path,
    say,
    start,
    switched_on,
)
from peers._tools import BuiltTool, DebianTool, Tool, tools

__all__ = (
    "BuiltTool",
    "DebianTool",
    "Tool",
    "build",
    "end",
    "install_packages",
    "last_words",
    "may_use_apt",
    "on_path",
    "say",
    "start",
    "switched_on",
    "tools",
)
