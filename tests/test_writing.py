"""Files and folders are old or new, never in between: failing calls, kills, power failures."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from keras_attn_nmt import writing

CAMPAIGN = Path(__file__).parents[1] / "benchmarks"
# Each answer is the exit code of a forked process that writes with the faults of one line of input.
WRITER = """
import ctypes, json, os, sys
from pathlib import Path
from keras_attn_nmt import writing

def write(root):
    writing.write_text(root / "file.txt", "new " * 5000)
    with writing.temporary_sibling(root / "page") as folder:
        (folder / "new").mkdir()
        with writing.named_errors(root / "page"):
            (folder / "new" / "a.txt").write_text("new")
            (folder / "new" / "b.txt").write_text("new")
        writing.replace_folder(folder / "new", root / "page")

for line in sys.stdin:
    faults = json.loads(line)
    child = os.fork()
    if not child:
        code = 70
        try:
            os.environ.update(faults)
            ctypes.CDLL(None).fault_start()
            if "PLANT" in faults:
                os.fsync = lambda descriptor: None
            write(Path(faults["FAULT_ROOT"]))
            code = 0
        except OSError as error:
            code = 1 if str(error.filename) in str(error) else 71
        finally:
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture
def campaign(monkeypatch):
    monkeypatch.syspath_prepend(str(CAMPAIGN))
    from campaign import outputs, power_loss

    return outputs, power_loss


@pytest.fixture
def write(tmp_path):
    """Writes a file and a folder over older ones, with faults; exit code, calls, what is there."""
    library = tmp_path / "faults.so"
    build = ["cc", "-shared", "-fPIC", "-o", str(library)]
    try:
        subprocess.run([*build, str(CAMPAIGN / "campaign/write_faults.c"), "-ldl"], check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no C compiler for Linux here")
    root, log, count = (tmp_path / name for name in ("out", "log", "count"))
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER],
        env={**os.environ, "LD_PRELOAD": str(library)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def run(fresh=True, **faults):
        if fresh:
            subprocess.run(["rm", "-rf", str(root)], check=True)
            (root / "page").mkdir(parents=True)
            for name in ("file.txt", "page/a.txt", "page/former.txt"):
                (root / name).write_text("old")
        count.write_bytes(bytes(8))
        log.write_text("")
        faults |= {"FAULT_ROOT": str(root), "FAULT_LOG": str(log), "FAULT_COUNT": str(count)}
        print(json.dumps(faults), file=writer.stdin, flush=True)
        code = int(writer.stdout.readline())
        return code, log.read_text(), root

    yield run
    writer.stdin.close()
    writer.wait()


OLD_PAGE, NEW_PAGE = {"a.txt": "old", "former.txt": "old"}, {"a.txt": "new", "b.txt": "new"}


# ENOSPC, EIO, a short write, SIGKILL.
ERRORS = {
    "write": ("28", "-1", "-2"),
    "rename": ("5", "-2"),
    "fsync": ("5", "-2"),
    "open": ("28",),
    "close": ("5",),
    "mkdir": ("28",),
}


def test_every_failing_call_leaves_old_or_new(write, campaign):
    outputs, power_loss = campaign
    made = [call.operation for call in power_loss.calls(write()[1])]
    faults = [
        (operation, at, error)
        for operation, errors in ERRORS.items()
        for error in errors
        for at in range(1, made.count(operation) + 1)
    ]
    assert len(faults) > 30
    for operation, at, error in faults:
        code, _, root = write(FAULT_OPS=operation, FAULT_AT=str(at), FAULT_ERRNO=error)
        assert code == {"-1": 0, "-2": -9}.get(error, 1), (operation, at, error)
        file = (root / "file.txt").read_text()
        page = {each.name: each.read_text() for each in (root / "page").iterdir()}
        assert file in ("old", "new " * 5000), (operation, at, error)
        assert page in (OLD_PAGE, NEW_PAGE), (operation, at, error)
        if error == "-2":
            # What the killed one left is removed.
            assert write(fresh=False)[0] == 0
        assert not outputs.leftovers(root), (operation, at, error)


def test_names_follow_content_onto_the_disk(write, campaign):
    _, power_loss = campaign
    assert power_loss.unsafe(power_loss.calls(write()[1])) == []


def test_campaign_notices_missing_fsync(write, campaign):
    _, power_loss = campaign
    found = power_loss.unsafe(power_loss.calls(write(PLANT="no fsync")[1]))
    assert "out/file.txt gets its name before its content is on the disk" in found
    assert "out/page gets its name before its content is on the disk" in found


def test_abandoned_folders_are_told_from_those_in_use(tmp_path):
    abandoned = tmp_path / ".model.keras.abcdefgh.unfinished"
    abandoned.mkdir()
    (abandoned / "model.keras").write_text("half")
    others = [tmp_path / ".model.keras.unfinished", tmp_path / ".model.abcdefgh.unfinished"]
    for each in others:
        each.mkdir()
    with writing.temporary_sibling(tmp_path / "model.keras") as mine:
        assert not abandoned.exists()
        writing.write_text(tmp_path / "model.keras", "by another process")
        assert mine.is_dir()
    assert sorted(tmp_path.iterdir()) == sorted([*others, tmp_path / "model.keras"])


def test_a_pipe_stays_a_pipe_and_gets_the_content(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        writing.check_file_output(pipe)
        writing.write_text(pipe, "ein Haus\n" * 20_000)
        assert reader.stdout.read() == b"ein Haus\n" * 20_000
    assert pipe.is_fifo()
    assert os.listdir(tmp_path) == ["pipe"]


@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_outputs_of_the_process_may_be_named(tmp_path, kind):
    program = """
from keras_attn_nmt import writing
print(1)
writing.check_file_output("/dev/stdout")
writing.write_text("/dev/stdout", "2\\n")
print(3)
"""
    command = [sys.executable, "-c", program]
    if kind == "file":
        with open(tmp_path / "out", "wb") as out:
            subprocess.run(command, stdout=out, check=True)
        found = (tmp_path / "out").read_bytes()
    else:
        found = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    assert found == b"1\n2\n3\n"


def test_a_new_file_has_the_permissions_of_the_old_one(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("old")
    secret.chmod(0o600)
    writing.write_text(secret, "new")
    assert (secret.read_text(), secret.stat().st_mode & 0o777) == ("new", 0o600)


def test_folder_is_replaced_where_exchange_is_not_known(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "_exchange", lambda *_: False)
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "old").touch()
    with writing.temporary_sibling(tmp_path / "page") as folder:
        (folder / "new").mkdir()
        writing.replace_folder(folder / "new", tmp_path / "page")
    assert list((tmp_path / "page").iterdir()) == []


@pytest.mark.parametrize("check", [writing.check_file_output, writing.check_folder_output])
def test_urls_are_no_local_paths(check, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for url in ("gs://bucket/model", Path("s3://bucket/model"), "file:///model"):
        with pytest.raises(ValueError, match="is a URL; expected a local path"):
            check(url)
    check("a:b")
