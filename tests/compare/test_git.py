"""Revisions in worktrees: the right files, nothing left behind, nothing of the user's touched."""

from pathlib import Path

import pytest

from hasten._core.errors import ConfigurationError
from hasten.compare._git import Repository, Revision, find_repository, find_revisions, worktree
from tests.compare.repositories import commit, git, make_repository, worktrees


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Return a repository with the tags `old` and `new`, and changes in its working tree and its index."""
    folder = make_repository(tmp_path / "project")
    commit(folder, {"main.py": "VERSION = 'old'\n", "sub/a.py": ""}, "old")
    commit(folder, {"main.py": "VERSION = 'new'\n"}, "new")
    folder.joinpath("main.py").write_text("VERSION = 'mine'\n")
    folder.joinpath("staged.py").write_text("")
    git(folder, "add", "staged.py")
    return find_repository(folder)


def test_a_worktree_has_the_files_of_its_revision(repository: Repository, tmp_path: Path) -> None:
    """Two worktrees at once have each the files of their revision, the working tree's side has the user's own."""
    before, after = find_revisions(repository, "old..new")
    mine, _ = find_revisions(repository, "..new")
    with (
        worktree(repository, before, tmp_path / "1") as first,
        worktree(repository, after, tmp_path / "2") as second,
        worktree(repository, mine, tmp_path / "3") as third,
    ):
        assert "old" in first.joinpath("main.py").read_text()
        assert "new" in second.joinpath("main.py").read_text()
        assert "mine" in third.joinpath("main.py").read_text()


def test_nothing_is_left_and_nothing_is_touched(repository: Repository, tmp_path: Path) -> None:
    """After an error within, git knows no worktree, its folder is gone, and the working tree is as it was."""
    status = git(repository.root, "status", "--porcelain")
    before, _ = find_revisions(repository, "old..new")

    def work() -> None:
        with worktree(repository, before, tmp_path / "tree") as tree:
            tree.joinpath("main.py").write_text("changed by the app")
            tree.joinpath("written.db").write_text("by the app")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert worktrees(repository.root) == [str(repository.root)]
    assert not tmp_path.joinpath("tree").exists()
    assert git(repository.root, "status", "--porcelain") == status
    assert git(repository.root, "branch", "--list") == "* main"


def test_a_worktree_whose_files_are_gone_is_removed(repository: Repository, tmp_path: Path) -> None:
    """Git's own knowledge of a worktree goes, too, where something else has removed the folder."""
    before, _ = find_revisions(repository, "old..new")
    with worktree(repository, before, tmp_path / "tree") as tree:
        tree.rename(tmp_path / "elsewhere")
    assert worktrees(repository.root) == [str(repository.root)]


def test_hooks_of_the_repository_do_not_run(repository: Repository, tmp_path: Path) -> None:
    """A post-checkout hook, which might install or write something, is not run."""
    hook = repository.root / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n")
    hook.chmod(0o755)
    before, _ = find_revisions(repository, "old..new")
    with worktree(repository, before, tmp_path / "tree"):
        assert not tmp_path.joinpath("ran").exists()


def test_it_works_within_a_hook(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git's variables of the hook that it is called from do not lead it to another repository."""
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    before, _ = find_revisions(find_repository(repository.root), "old..new")
    with worktree(repository, before, tmp_path / "tree") as tree:
        assert "old" in tree.joinpath("main.py").read_text()


def test_a_folder_inside_is_known(repository: Repository) -> None:
    """Run in a sub-folder, the repository tells the way to it, which worktrees have alike."""
    assert find_repository(repository.root / "sub") == Repository(repository.root, Path("sub"))


def test_what_two_revisions_may_be(repository: Repository) -> None:
    """An empty side is the working tree; tags, commits and relative names are taken."""
    assert find_revisions(repository, "..")[0] == Revision("working tree", "")
    assert find_revisions(repository, "old..")[1].commit == ""
    assert find_revisions(repository, "HEAD~1..main")[0].commit == git(repository.root, "rev-parse", "old^{commit}")
    assert find_revisions(repository, "old..new")[0].title.startswith("old (")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("main", "--git 'main': not of the form BEFORE..AFTER; write two revisions like main..fix"),
        ("main...fix", "--git 'main...fix': not of the form"),
        ("main..gone", "--git gone: no such revision in "),
        ("--help..main", "--git --help: no such revision in "),
        ("HEAD:main.py..main", "--git HEAD:main.py: no such revision in "),
    ],
)
def test_a_bad_revision_is_one_line(repository: Repository, given: str, problem: str) -> None:
    """What is no pair of revisions is named."""
    with pytest.raises(ConfigurationError) as caught:
        find_revisions(repository, given)
    assert str(caught.value).startswith(problem)
    assert "\n" not in str(caught.value)


def test_no_repository_is_one_line(tmp_path: Path) -> None:
    """A folder without a repository is named."""
    with pytest.raises(ConfigurationError, match=r"^--git: .* is in no repository with a working tree: .*; run it in"):
        find_repository(tmp_path)


def test_a_worktree_that_cannot_be_made_leaves_nothing(repository: Repository, tmp_path: Path) -> None:
    """Where git cannot write, it says so in one line, and git knows no worktree."""
    tmp_path.joinpath("file").write_text("")
    before, _ = find_revisions(repository, "old..new")
    with (
        pytest.raises(ConfigurationError, match=r"^--git old: git says: "),
        worktree(repository, before, tmp_path / "file" / "tree"),
    ):
        pytest.fail("there can be no worktree below a file")
    assert worktrees(repository.root) == [str(repository.root)]
