"""What `hasten init` adds to a FastAPI project, and the starter of two services.

    _app             finds the app in the source            _project         what the project is like
    _routes          what routes it has, by importing it    _objectives      slo.toml, plan.toml
    _module_edit     hasten.install in its module           _pyproject_edit  dependency and tables
    _deployment      image, Compose, Kubernetes, workflow   _timing          how long an end takes
    _init, _proposal what would be written                  _write           writes it, all or nothing

Needs PyYAML for Prometheus' rules: `pip install 'hasten[monitor]'`.
"""

from hasten.init._init import Options, propose, propose_example
from hasten.init._proposal import GROUPS, FileChange, Group, Proposal
from hasten.init._timing import Timing
from hasten.init._write import write

__all__ = ("GROUPS", "FileChange", "Group", "Options", "Proposal", "Timing", "propose", "propose_example", "write")
