"""Kills at any moment: nothing is lost, and the same command goes on."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
from bulk_files import content_of, finished_parts, many_lines, parts_of

pytest.importorskip("apache_beam", reason="no Beam here: make test-beam")
TWO = ["--", "--direct_num_workers=2", "--direct_running_mode=multi_processing"]


@pytest.fixture
def begun(device_file, tmp_path):
    """Begins a command with files of some hundred parts; returns its process and its words."""
    (tmp_path / "in").mkdir()
    for number in range(2):
        text = "\n".join(many_lines(1200, number)) + "\n"
        (tmp_path / "in" / f"{number}.txt").write_text(text, encoding="utf-8")
    processes = []

    def begin(*beam_arguments):
        words = ["bulk-translate", device_file, "--beam-size", "1", "--batch-size", "1"]
        words += ["--input", str(tmp_path / "in" / "*"), "--output", str(tmp_path / "out")]
        program = [sys.executable, "-m", "keras_attn_nmt.cli", *words, *beam_arguments]
        processes.append(
            subprocess.Popen(
                program,
                stderr=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                # A shell starts what runs in its background with SIGINT ignored.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        )
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def wanted(command, device_file, tmp_path):
    """What `translate` gives for the files."""

    def translate():
        options = ["--beam-size", "1", "--batch-size", "1"]
        return {
            path.name: command("translate", device_file, *options, text=path.read_bytes())[1]
            for path in (tmp_path / "in").iterdir()
        }

    return translate


def wait_for_parts(process, folder, count):
    while process.poll() is None and len(finished_parts(folder)) < count:
        time.sleep(0.02)
    assert process.poll() is None, process.stderr.read()


def children_of(process):
    """Ids of the worker processes; Beam starts each with a shell of its own."""
    found = subprocess.run(["ps", "-wweo", "pid=,ppid=,args="], capture_output=True, text=True)
    rows = [line.split(None, 2) for line in found.stdout.splitlines()]
    family = {process.pid}
    for _ in range(3):
        family |= {int(row[0]) for row in rows if int(row[1]) in family}
    return [int(row[0]) for row in rows if int(row[0]) in family and "sdk_worker" in row[2]]


@pytest.mark.parametrize(
    "beam_arguments",
    [pytest.param([], marks=pytest.mark.slow), TWO],
    ids=["one process", "two processes"],
)
def test_a_killed_command_goes_on(begun, wanted, tmp_path, beam_arguments):
    process = begun(*beam_arguments)
    wait_for_parts(process, tmp_path / "out", 5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in finished_parts(tmp_path / "out")}
    assert not content_of(tmp_path / "out")
    process = begun(*beam_arguments)
    again = {}
    while process.poll() is None:
        for path in kept:
            with contextlib.suppress(FileNotFoundError):  # Removed at the end.
                again[path] = path.stat().st_mtime_ns
        time.sleep(0.02)
    assert process.returncode == 0, process.stderr.read()
    # What was finished was not made again.
    assert again == {path: kept[path] for path in again} and again
    assert content_of(tmp_path / "out") == wanted()
    assert not parts_of(tmp_path / "out")


@pytest.mark.slow
def test_a_killed_worker_ends_the_job_which_goes_on(begun, wanted, tmp_path):
    process = begun(*TWO)
    wait_for_parts(process, tmp_path / "out", 5)
    os.kill(children_of(process)[-1], signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "A worker process ended, which ends Beam's local job" in err
    assert "the same command goes on" in err
    assert not content_of(tmp_path / "out")
    process = begun(*TWO)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert content_of(tmp_path / "out") == wanted()


# The command, killed when it is about to do something to a path that ends in a text.
KILLED_AT = """
import os, signal, sys
from keras_attn_nmt import cli
from keras_attn_nmt.bulk import storage

action, end = sys.argv[1:3]
module = os if action == "replace" else storage
before = getattr(module, action)

def killed(*paths):
    if str(paths[-1]).rstrip("/").endswith(end):
        os.kill(os.getpid(), signal.SIGKILL)
    return before(*paths)

setattr(module, action, killed)
cli.main(sys.argv[3:])
"""
SUMMARY = b"1 file, 200 lines, 1 line not translated (see *.failed.jsonl)\n"
MOMENTS = {
    "a part gets its name": ("replace", "00000001.text"),
    "failures get their name": ("replace", "a.txt.failed.jsonl"),
    "the file gets its name": ("replace", "out/a.txt"),
    "the parts are removed": ("remove", ""),
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_before(device_file, command, tmp_path, moment):
    (tmp_path / "in").mkdir()
    lines = [line.encode() for line in many_lines(200)]
    lines[100] = b"\xff"
    (tmp_path / "in" / "a.txt").write_bytes(b"\n".join(lines))
    options = ["--beam-size", "1", "--batch-size", "2"]
    words = ["bulk-translate", device_file, *options, "--input", str(tmp_path / "in" / "*")]
    words += ["--output", str(tmp_path / "out")]
    program = [sys.executable, "-c", KILLED_AT, *MOMENTS[moment], *words]
    killed = subprocess.run(program, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert command(*words)[:2] == (0, SUMMARY)
    lines[100] = b""
    _, wanted, _ = command("translate", device_file, *options, text=b"\n".join(lines))
    found = content_of(tmp_path / "out")
    assert found["a.txt"] == wanted
    assert set(found) == {"a.txt", "a.txt.failed.jsonl"}
    assert found["a.txt.failed.jsonl"].count(b"\n") == 1
    assert not parts_of(tmp_path / "out")


def test_a_full_disk_says_so(device_file, command, tmp_path):
    (tmp_path / "in.txt").write_text("\n".join(many_lines(200)) + "\n", encoding="utf-8")
    options = ["--beam-size", "1", "--batch-size", "2"]
    words = ["bulk-translate", device_file, *options, "--input", str(tmp_path / "in.txt")]
    words += ["--output", str(tmp_path / "out")]
    # Files cannot grow beyond a limit, which is to a program what a full disk is.
    program = (
        "import resource, sys\n"
        "from keras_attn_nmt import cli\n"
        "import keras_attn_nmt.bulk.job\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (900, resource.RLIM_INFINITY))\n"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    full = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True)
    assert full.returncode == 1
    assert "File too large" in full.stderr and "the same command goes on" in full.stderr
    assert not content_of(tmp_path / "out")
    assert command(*words)[0] == 0
    _, wanted, _ = command(
        "translate", device_file, *options, text=(tmp_path / "in.txt").read_bytes()
    )
    assert content_of(tmp_path / "out") == {"in.txt": wanted}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_command_says_so(begun, tmp_path, number, code):
    process = begun()
    wait_for_parts(process, tmp_path / "out", 2)
    process.send_signal(number)
    assert process.wait() == code
    last = process.stderr.read().splitlines()[-1]
    assert last.startswith("keras-attn-nmt: stopped. What is finished is kept"), last
