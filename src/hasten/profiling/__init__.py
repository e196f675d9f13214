"""Profiles of a service: made by py-spy, yappi or the ledger, read alike.

_profile             what a profile is
_options             how one is to be made
_desk                one capture at a time in this process; _ledger, _yappi the engines within
_pyspy               the engine from outside: _pyspy_output reads what py-spy writes, _pyspy_weights weighs it by
                     _thread_times, _names names frames; _ptrace who may trace whom
_remote              profiles of processes that have an admin port
_session             an app served, driven and captured
_store, _triggers    captures that are kept, and when one is made by itself
_files               profiles as files: ours, speedscope's (_speedscope), folded stacks (_folded), pages (flame/)
_functions, _diff    what each function took, and what has changed between two profiles
"""

from hasten.profiling._desk import CaptureRefused, Desk
from hasten.profiling._diff import Change, Difference, diff_profiles
from hasten.profiling._files import FORMATS, decode, encode, read_profile, write_profile
from hasten.profiling._functions import functions
from hasten.profiling._options import CaptureOptions, parse_options
from hasten.profiling._profile import Frame, Function, Profile, Requests, Stack
from hasten.profiling._triggers import ProfileOptions

__all__ = (
    "FORMATS",
    "CaptureOptions",
    "CaptureRefused",
    "Change",
    "Desk",
    "Difference",
    "Frame",
    "Function",
    "Profile",
    "ProfileOptions",
    "Requests",
    "Stack",
    "decode",
    "diff_profiles",
    "encode",
    "functions",
    "parse_options",
    "read_profile",
    "write_profile",
)
