import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nasproxy.errors import InputError, RunError, RunNotFoundError
from nasproxy.files import write_atomically, write_text
from nasproxy.rundir import RunDir, create_run, find_run, hold, list_runs

HOLDER = """
import sys, time
from pathlib import Path
from nasproxy.rundir import RunDir
with RunDir(Path(sys.argv[1])).running():
    print("held", flush=True)
    time.sleep(60)
"""


def _create(root: Path, name: str | None = None, command: str = "condense") -> RunDir:
    return create_run(root, name, "digits-dm", command=command, config_text="command = 'x'\n", parents={"data": "abc"})


@contextmanager
def _holder(run: RunDir) -> Iterator[subprocess.Popen[str]]:
    """Another process that works in the run folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(run.path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_new_run_has_its_settings_and_says_where_it_comes_from(tmp_path: Path) -> None:
    run = _create(tmp_path / "runs", "first")
    assert run.path == tmp_path / "runs" / "first"
    assert run.name == "first"
    assert run.config_path.read_text() == "command = 'x'\n"
    assert run.meta["name"] == "first"
    assert run.meta["command"] == "condense"
    assert run.meta["status"] == "created"
    assert run.meta["parents"] == {"data": "abc"}
    assert {"nasproxy", "torch", "ray", "optuna"} <= set(run.meta["versions"])
    assert sorted(path.name for path in (tmp_path / "runs").rglob("*")) == ["config.toml", "first", "meta.json"]


def test_nameless_runs_are_numbered(tmp_path: Path) -> None:
    runs = [_create(tmp_path) for _ in range(3)]
    assert [run.name for run in runs] == ["digits-dm", "digits-dm-2", "digits-dm-3"]
    assert [run.meta["name"] for run in runs] == ["digits-dm", "digits-dm-2", "digits-dm-3"]


def test_taken_name_is_refused_and_the_old_run_stays(tmp_path: Path) -> None:
    old = _create(tmp_path, "first")
    before = old.meta
    with pytest.raises(RunError, match="exists already; choose another --name, or continue it with --resume first"):
        _create(tmp_path, "first")
    assert old.meta == before


@pytest.mark.parametrize("name", ["a/b", "/abs", "..", ".", ".hidden", "@last", "a/"])
def test_names_that_are_no_plain_folder_name_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no plain folder name"):
        _create(tmp_path / "runs", name)
    assert not (tmp_path / "runs").exists()


def test_nothing_is_left_when_creating_fails(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        create_run(tmp_path, "first", "x", command="search", config_text="\ud800", parents={})
    with pytest.raises(TypeError):
        create_run(tmp_path, "first", "x", command="search", config_text="", parents={"data": b"no JSON"})  # type: ignore[dict-item]
    assert list(tmp_path.iterdir()) == []


def test_passwords_on_the_command_line_are_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgresql://anna:s3cret@db/studies"
    monkeypatch.setattr(sys, "argv", ["nasproxy", "search", "--storage", url, f"storage={url}", f"--storage={url}"])
    run = _create(tmp_path)
    assert "s3cret" not in run.meta_path.read_text()
    assert run.meta["arguments"][2:] == [
        "postgresql://anna@db/studies",
        "storage=postgresql://anna@db/studies",
        "--storage=postgresql://anna@db/studies",
    ]


def test_running_records_done_and_adds_up_the_time(tmp_path: Path) -> None:
    run = _create(tmp_path)
    with run.running():
        assert (run.meta["status"], run.meta["pid"]) == ("running", os.getpid())
    first = run.meta
    assert (first["status"], first["error"]) == ("done", None)
    assert first["wall_seconds"] > 0
    run.update_meta(wall_seconds=100.0)
    with run.running():
        pass
    assert 100 < run.meta["wall_seconds"] < 110
    assert run.meta["created"] == first["created"]


@pytest.mark.parametrize(
    ("error", "status", "problem"),
    [
        (ValueError("too small"), "failed", "ValueError: too small"),
        (SystemExit(3), "failed", "SystemExit: 3"),
        (KeyboardInterrupt(), "interrupted", None),
    ],
)
def test_running_records_how_work_was_cut_short(
    error: BaseException, status: str, problem: str | None, tmp_path: Path
) -> None:
    run = _create(tmp_path)
    with pytest.raises(type(error)), run.running():
        raise error
    assert (run.meta["status"], run.meta["error"]) == (status, problem)
    with run.running():
        pass
    assert (run.meta["status"], run.meta["error"]) == ("done", None)


def test_run_that_another_process_works_in_is_refused(tmp_path: Path) -> None:
    run = _create(tmp_path)
    with _holder(run) as process:
        with pytest.raises(RunError, match="is in use by a live process"), run.running():
            pytest.fail("two processes in one run")
        assert (run.meta["status"], run.meta["pid"]) == ("running", process.pid)
        assert run.status == "running"


def test_lock_of_a_killed_process_does_not_block(tmp_path: Path) -> None:
    run = _create(tmp_path)
    with _holder(run) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert run.meta["status"] == "running"
        assert run.status == "interrupted"
        with run.running():
            assert run.meta["pid"] == os.getpid()
    assert run.meta["status"] == "done"


def test_folder_is_held_once_in_one_process_too(tmp_path: Path) -> None:
    with hold(tmp_path), pytest.raises(RunError, match="is in use"), hold(tmp_path):
        pytest.fail("held twice")
    with hold(tmp_path):
        assert (tmp_path / ".lock").exists()


def test_run_is_found_by_name_by_path_and_as_last(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    first, second = _create(root, "z-first"), _create(root, "a-second", "search")
    first.update_meta(created="2026-01-01T00:00:00.000+00:00")
    second.update_meta(created="2026-01-02T00:00:00.000+00:00")
    assert list_runs(root) == [first, second]
    assert find_run("z-first", root) == first
    assert find_run("a-second", root, "search") == second
    assert find_run(str(first.path), tmp_path / "elsewhere") == first
    assert find_run("@last", root) == second
    assert find_run("@last", root, "condense") == first


def test_run_of_another_command_is_refused(tmp_path: Path) -> None:
    _create(tmp_path, "first", "search")
    with pytest.raises(RunError, match="'first' was made by 'nasproxy search', not by 'nasproxy condense'"):
        find_run("first", tmp_path, "condense")


def test_missing_run_is_an_error_that_lists_the_runs(tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError, match=r"no run 'first' in .*; runs there: none"):
        find_run("first", tmp_path / "nowhere")
    for name in ("one", "two"):
        _create(tmp_path, name)
    (tmp_path / "no-run").mkdir()
    with pytest.raises(RunNotFoundError, match=r"no run 'no-run' in .*; runs there: one, two$"):
        find_run("no-run", tmp_path)


def test_last_of_a_command_that_never_ran_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError, match="@last: no run in"):
        find_run("@last", tmp_path)
    _create(tmp_path, "first")
    with pytest.raises(RunNotFoundError, match="@last: no search run in"):
        find_run("@last", tmp_path, "search")


@pytest.mark.parametrize("content", [None, "{", b"\xff"])
def test_unreadable_meta_is_an_input_error(content: str | bytes | None, tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    if content is not None:
        run.meta_path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError, match="is unreadable"):
        _ = run.meta


def test_update_meta_keeps_the_other_keys(tmp_path: Path) -> None:
    run = _create(tmp_path)
    before = run.meta
    run.update_meta(device="cpu", status="running")
    assert json.loads(run.meta_path.read_text()) == before | {"device": "cpu", "status": "running"}


def test_atomic_write_keeps_the_old_file_when_the_writer_fails(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_text(path, "old")

    def half(scratch: Path) -> None:
        assert scratch.suffix == ".csv"
        scratch.write_text("ne")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, half)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_write_replaces_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    write_text(path, "a long old text")
    write_text(path, "néw")
    assert path.read_text(encoding="utf-8") == "néw"
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_run_does_not_hide_the_others(tmp_path: Path) -> None:
    damaged, whole = _create(tmp_path, "damaged"), _create(tmp_path, "whole")
    damaged.meta_path.write_text("{")
    assert list_runs(tmp_path) == [whole]
    assert find_run("@last", tmp_path) == whole
    with pytest.raises(InputError, match="is unreadable"):
        find_run("damaged", tmp_path)
