"""Files of Evidently's are whole or not there, and nothing is left beside them."""

import resource

import pytest

from tasks.io import workspace_files as files


@pytest.mark.parametrize("write", [files.create, files.replace])
def test_a_write_that_breaks_off_leaves_nothing(tmp_path, write):
    """Where the system stops a write half-way, as it does on a full disk, what was there stays and no part of a file is left."""
    kept = tmp_path / "kept.json"
    kept.write_text("{}", encoding="utf-8")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        with pytest.raises(OSError, match="File too large"):
            write(tmp_path / ("new.json" if write is files.create else "kept.json"), "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == [kept]
    assert files.read(kept) == {}


def test_a_name_that_is_taken_leaves_nothing(tmp_path):
    """Neither a file that is there already nor a folder in its place leaves a temporary file beside it."""
    taken = tmp_path / "taken.json"
    assert files.create(taken, "{}")
    assert not files.create(taken, "[]")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(IsADirectoryError):
        files.replace(tmp_path / "folder.json", "{}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.json", "taken.json"]
