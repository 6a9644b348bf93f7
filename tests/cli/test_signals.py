"""Commands that signals stop, as they write."""

import os
import signal
import subprocess
import sys

import pytest

# Gets the signal when its file is complete, and does not have its name yet.
PROGRAM = """
import os, sys
from keras_attn_nmt import cli, writing
number, sync = int(sys.argv.pop()), writing.sync

def signalled(path):
    os.kill(os.getpid(), number)
    sync(path)

writing.sync = signalled
sys.exit(cli.main())
"""


@pytest.mark.parametrize(
    ("number", "ignored", "code", "left"),
    [
        (signal.SIGTERM, False, 143, []),
        (signal.SIGHUP, False, 129, []),
        (signal.SIGHUP, True, 0, ["page.html"]),  # As with nohup.
    ],
)
def test_a_signal_stops_a_command_without_temporary_files(
    model, tmp_path, number, ignored, code, left
):
    arguments = ["attention", model, "ein Haus", "--output", str(tmp_path / "page.html")]
    handler = signal.SIG_IGN if ignored else signal.SIG_DFL
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments, str(int(number))],
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(number, handler),
    )
    assert (done.returncode, os.listdir(tmp_path)) == (code, left), done.stderr
    assert ("keras-attn-nmt: stopped." in done.stderr) != ignored
