"""What functions of another process are called: as the ledger calls those of its own, so that profiles compare. Pure.

Own code by its qualified name (`Basket.load`), libraries' with their package in front (`httpx.AsyncClient.get`,
`asyncio.Runner.run`), C functions with their library (`libc.epoll_wait`); `[libc.so.6]` is one of which only the
address was known, which would be another one in each process. Python 3.10 and earlier know no qualified names.
"""

import os
import re
from pathlib import Path

from hasten.profiling._profile import Frame

_HASTEN = str(Path(__file__).parents[1]) + os.sep
_STDLIB = str(Path(os.__file__).parent) + os.sep
_PACKAGES = re.compile(r".*/(?:site|dist)-packages/")
_STDLIBS = re.compile(r".*?/lib(?:64)?/python\d\.\d+t?/(?:lib-dynload/)?")  # another process may have another Python
_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")
_NATIVE = re.compile(r"(?:\.so(?:\.[\d.]+)?|\.dylib|\.c(?:c|pp)?|(?:\.c)?\.h|\.rs)$")
_ABI = re.compile(r"\.(?:cpython|abi3|pypy)\b.*")


def named_frame(function: str, file: str = "", line: int = 0) -> Frame:
    """Return the frame of a function.

    Args:
      function: Its qualified name; of C an address where no name is known.
      file: Where it stands, a path or Python's word for what has none (`<string>`), or the library it is in.
    """
    if _ADDRESS.fullmatch(function):
        return Frame(f"[{Path(file).name.strip('[]') or 'unknown'}]", file)
    package = _package(file)
    return Frame(f"{package}.{function}" if package else function, file, line)


def _package(file: str) -> str:
    """Return the top-level package or the library that a file belongs to; empty for own code."""
    for place in (_PACKAGES, _STDLIBS):
        if match := place.match(file):
            return _top(file[match.end() :])
    if file.startswith(_HASTEN):
        return "hasten"
    if file.startswith(_STDLIB):
        return _top(file[len(_STDLIB) :])
    if file.startswith("<"):  # frozen modules, generated code
        return "python"
    if file.endswith((".pyx", ".pxd")):
        return _top(file)
    return _library(Path(file).name)


def _top(path: str) -> str:
    """Return the first part of a relative path: the package or module."""
    first = path.partition("/")[0]
    return _library(first) or first.removesuffix(".py").removesuffix(".pyx").removesuffix(".pxd")


def _library(file: str) -> str:
    """Return `libc` of `libc.so.6`, `_queue` of `_queue.cpython-311-x86_64-linux-gnu.so`; empty of what is not of C."""
    if file == "[vdso]":
        return "vdso"
    match = _NATIVE.search(file)
    return _ABI.sub("", file[: match.start()]) if match else ""
