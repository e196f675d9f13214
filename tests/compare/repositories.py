"""Repositories for tests: real git, no configuration of the machine's."""

import os
import subprocess
from pathlib import Path

_NOBODY = {
    "GIT_AUTHOR_NAME": "Test",
    "GIT_AUTHOR_EMAIL": "test@example.org",
    "GIT_COMMITTER_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "test@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder; return what it says."""
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, env={**os.environ, **_NOBODY}, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def make_repository(folder: Path) -> Path:
    """Make an empty repository whose branch is `main`."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    return folder


def commit(repository: Path, files: dict[str, str], tag: str) -> None:
    """Write files, commit all there is, and tag it."""
    for name, text in files.items():
        repository.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        repository.joinpath(name).write_text(text)
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", tag)
    git(repository, "tag", tag)


def worktrees(repository: Path) -> list[str]:
    """Return the folders of a repository's worktrees, its own first."""
    rows = git(repository, "worktree", "list", "--porcelain").splitlines()
    return [row.removeprefix("worktree ") for row in rows if row.startswith("worktree ")]
