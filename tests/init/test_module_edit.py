"""The edit of an app's module: whatever the module, lines are added, and no other one changes."""

import ast
import io
import textwrap

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hasten.init._module_edit import add_installation, decode


def added(source: str, app: str = "app", *, slo: bool = True) -> str:
    """Return the module with hasten in it, where that must be possible."""
    made = add_installation(source, app, "shop", slo=slo)
    assert made is not None
    return made


def is_subsequence(before: str, after: str) -> bool:
    """Tell whether all lines of `before` are in `after`, in their order."""
    left = iter(line.rstrip("\r\n") for line in io.StringIO(after, newline=""))
    return all(line.rstrip("\r\n") in left for line in io.StringIO(before, newline=""))


HEADS = st.sampled_from(
    ["", '"""What it does."""\n', "# a comment\n\n", '"""Doc."""\nfrom __future__ import annotations\n']
)
IMPORTS = st.lists(
    st.sampled_from(
        [
            "import os\n",
            "import sys; import json\n",
            "import hasten\n",
            "import hasten.cache\n",
            "import zlib\n",
            "from pathlib import Path\n",
            "from . import routers\n",
            "from anyio import (\n    sleep,\n    run,\n)\n",
            "# why\n",
            "import alpha, beta\n",
        ]
    ),
    max_size=5,
).map("".join)
CREATED = st.sampled_from(
    [
        "app = FastAPI()\n",
        "app: FastAPI = FastAPI(title='x')\n",
        "app = other = FastAPI(\n    title='''a\nb''',\n)\n",
        "try:\n    app = FastAPI()\nexcept Exception:\n    raise\n",
        "x = 1; app = FastAPI()\n",
    ]
)
BODIES = st.lists(
    st.sampled_from(
        [
            "\n\n@app.get('/')\nasync def root():\n    return 1\n",
            "class A:\n    pass\n",
            "x = 1 \\\n    + 2\n",
            "text = '''\nif __name__ == '__main__':\n'''\n",
            "app = wrapped(app)\n",
            "\n\n\n",
            "# the end",
            "\n",
            "y = [\n    1,\n]; z = 2\n",
        ]
    ),
    max_size=5,
).map("\n".join)
GUARDS = st.sampled_from(["", "\nif __name__ == '__main__':\n    run(app)\n", "\nif '__main__' == __name__: run(app)"])


@given(HEADS, IMPORTS, CREATED, BODIES, GUARDS, st.sampled_from(["\n", "\r\n"]), st.booleans())
@example("", "", "app = FastAPI()", "", "", "\n", False)  # noqa: FBT003 - hypothesis takes them by position
def test_whatever_the_module_lines_are_added(
    head: str,
    imports: str,
    created: str,
    body: str,
    guard: str,
    ending: str,
    slo: bool,  # noqa: FBT001
) -> None:
    """The result parses, has every line that was there in its order, and installs hasten once, before the guard."""
    source = f"{head}{imports}from fastapi import FastAPI\n{created}{body}\n{guard}".replace("\n", ending)
    made = add_installation(source, "app", "shop", slo=slo)
    assert made is not None
    tree = ast.parse(made)
    assert is_subsequence(source, made)
    calls = [node for node in tree.body if isinstance(node, ast.Assign) and "hasten.install" in ast.unparse(node)]
    assert len(calls) == 1
    guards = [node.lineno for node in tree.body if isinstance(node, ast.If)]
    assert all(calls[0].lineno < line for line in guards)
    assert ("HASTEN_SLO" in made) is slo
    assert made.count("\n") == made.count(ending)
    names = [alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names]
    assert {"os", "hasten"} <= set(names)


@given(st.text(max_size=200))
def test_any_text_gives_a_module_or_nothing(text: str) -> None:
    """What is no module, or has no app of that name, is left alone; nothing is raised."""
    made = add_installation(text, "app", "shop", slo=True)
    assert made is None or is_subsequence(text, made)


@pytest.mark.parametrize(
    "line",
    [
        "from mine import os",
        "import mine as hasten",
        "os = 1",
        "def hasten(): ...",
        "class os: ...",
        "for os in (): ...",
        "del os",
    ],
)
def test_names_that_are_something_else_are_left_alone(line: str) -> None:
    """Where `os` or `hasten` may be anything else than the module, nothing is written."""
    source = f"from fastapi import FastAPI\n{line}\napp = FastAPI()\n"
    assert add_installation(source, "app", "shop", slo=True) is None


@pytest.mark.parametrize(
    "source",
    [
        "def make():\n    app = 1\n",  # binds it elsewhere
        "if __name__ == '__main__':\n    app = FastAPI()\n",  # behind the place
        "app = (\n",
        "from x import app\n",
        "app = 1 \\",
    ],
)
def test_where_it_is_not_plainly_safe_nothing_is_written(source: str) -> None:
    """A module that does not make the app at its top, or that cannot be read, is left alone."""
    assert add_installation(source, "app", "shop", slo=True) is None


PLAIN = """\
import json
import sys

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def root() -> str:
    return json.dumps(sys.argv)
"""


def test_the_lines_are_where_one_would_write_them() -> None:
    """Imports are sorted, and the call is the last thing that the module does."""
    assert added(PLAIN) == textwrap.dedent(
        """\
        import json
        import os
        import sys

        import hasten
        from fastapi import FastAPI

        app = FastAPI()


        @app.get("/")
        async def root() -> str:
            return json.dumps(sys.argv)


        app = hasten.install(
            app,
            service="shop",
            slo=os.environ.get("HASTEN_SLO", "slo.toml"),
            admin=os.environ.get("HASTEN_ADMIN", "127.0.0.1:9464"),
            admin_token=os.environ.get("HASTEN_ADMIN_TOKEN", ""),
        )
        """
    )


def test_encodings_and_marks_stay() -> None:
    """A file in another encoding, or with a byte order mark, is written as it was."""
    for data in (
        "# -*- coding: latin-1 -*-\nfrom fastapi import FastAPI\napp = FastAPI(title='caf\xe9')\n".encode("latin-1"),
        b"\xef\xbb\xbf" + "from fastapi import FastAPI\napp = FastAPI(title='café')\n".encode(),
    ):
        text, encoding = decode(data)
        made = added(text).encode(encoding)
        assert made.startswith(data[:3])
        assert made.count(data.split(b"\n")[-2]) == 1
        compile(made, "module", "exec")
