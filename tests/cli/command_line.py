"""Runs the command line, in this process or as users do."""

import io
import os
import subprocess
import sys

from keras_attn_nmt import cli

PROGRAM = [sys.executable, "-m", "keras_attn_nmt.cli"]


def run(capfd, monkeypatch, arguments, text=b""):
    """Runs a command in this process: exit code, standard output, standard error."""
    # Bytes, or a file of the operating system.
    stream = io.BytesIO(text) if isinstance(text, bytes) else text
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream))
    try:
        code = cli.main(arguments)
    except SystemExit as stop:
        code = stop.code
    out, err = capfd.readouterr()
    return code, out, err


def run_in_shell(arguments, redirections):
    """Runs a command in a separate process; returns exit code, standard output and error."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirections}', "sh", *PROGRAM, *arguments],
        capture_output=True,
        text=True,
        # Buffered, as it is by default.
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )
    return done.returncode, done.stdout, done.stderr
