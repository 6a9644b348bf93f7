"""Runs commands of the command line in forked processes, which saves the imports of each.

A JSON object per line of standard input, an answer per line of standard output. `arguments` are
those of `keras-attn-nmt` (or `save-model MODEL OUTPUT`, which only Python has), `faults` the
environment variables of `write_faults.c`, `stdin`, `stdout` and `stderr` files, `plant` a fault of
`PLANTS`, `kill_after` seconds until SIGKILL. The answer is the exit code: negative for a signal, 70
for an exception that left the program, `STOPPED` if this process killed it.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# What the commands need; imported once, before any model is built.
IMPORTED = (
    "keras_attn_nmt.translator",
    "keras_attn_nmt.training",
    "keras_attn_nmt.training.back_translation",
    "keras_attn_nmt.export",
    "keras_attn_nmt.plots",
)
# No signal has this number: a SIGKILL from elsewhere, as when memory is short, is not ours.
STOPPED = -1000


def plant_no_sync() -> None:
    """Nothing is on the disk before its name is."""
    os.fsync = lambda descriptor: None


def plant_fsync_errors_ignored() -> None:
    """A disk that fails at an fsync is not noticed."""
    sync = os.fsync

    def silent(descriptor: int) -> None:
        with contextlib.suppress(OSError):
            sync(descriptor)

    os.fsync = silent


def plant_folder_not_synced() -> None:
    """The content of a file is on the disk, but perhaps not its name."""
    from keras_attn_nmt import writing

    sync = writing.sync
    writing.sync = lambda path: None if os.path.isdir(path) else sync(path)


def plant_sync_after_rename() -> None:
    """The file is synced, but under its final name."""
    from keras_attn_nmt import writing

    sync, replace = writing.sync, os.replace

    def later(path: Any) -> None:
        if os.path.isdir(path):
            sync(path)

    def replace_and_sync(source: Any, target: Any) -> None:
        replace(source, target)
        sync(target)

    writing.sync, os.replace = later, replace_and_sync


def plant_in_place() -> None:
    """Files are written under their final names."""
    from keras_attn_nmt import writing

    @contextlib.contextmanager
    def in_place(path: Path) -> Iterator[Path]:
        yield path.parent

    writing.temporary_sibling = in_place


def plant_swallowed() -> None:
    """Errors of writing are ignored."""
    from keras_attn_nmt import writing

    inner = writing.named_errors

    @contextlib.contextmanager
    def silent(path: Any) -> Iterator[None]:
        with contextlib.suppress(OSError), inner(path):
            yield

    writing.named_errors = silent


def plant_leftovers() -> None:
    """Temporary folders stay, with what was written until the error, and are never removed."""
    from keras_attn_nmt import writing

    writing.shutil.rmtree = lambda *_, **__: None


def plant_half_folder() -> None:
    """A folder is filled under its final name."""
    from keras_attn_nmt import writing

    def filled(folder: Path, output: Path) -> None:
        for name in sorted(os.listdir(folder)):
            target = output / name
            if target.is_dir():
                shutil.rmtree(target)
            output.mkdir(exist_ok=True)
            os.replace(folder / name, target)

    writing.replace_folder = filled
    importlib.import_module("keras_attn_nmt.export.web").replace_folder = filled


def plant_early_state() -> None:
    """A checkpoint is announced before it is written."""
    from keras_attn_nmt import writing
    from keras_attn_nmt.training import callbacks

    save = callbacks.Checkpoints.on_epoch_end

    def announced(self: Any, epoch: int, logs: Any = None) -> None:
        history = self.kept.history
        state = {"epochs": epoch + 1, "best_epoch": 1, "finished": False, "history": history}
        writing.write_text(self.directory / callbacks.STATE, json.dumps(state))
        save(self, epoch, logs)

    callbacks.Checkpoints.on_epoch_end = announced


def plant_dropout_not_reseeded() -> None:
    """Dropout masks of an epoch depend on the epochs before it."""
    from keras_attn_nmt.training import callbacks

    callbacks.SeedEpochs.on_epoch_begin = lambda *_, **__: None


PLANTS: dict[str, Callable[[], None]] = {
    name.removeprefix("plant_").replace("_", "-"): value
    for name, value in list(globals().items())
    if name.startswith("plant_")
}


def run_command(arguments: list[str]) -> int:
    """The exit code of a command."""
    from keras_attn_nmt import cli

    if arguments[0] != "save-model":
        return cli.main(arguments)
    from keras_attn_nmt.translator import Translator

    try:
        Translator.load(arguments[1]).save(arguments[2])
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def run_child(job: dict[str, Any]) -> None:
    """Runs one command; never returns."""
    code = 70
    try:
        os.dup2(os.open(job["stdin"], os.O_RDONLY), 0)
        for descriptor, name in ((1, job["stdout"]), (2, job["stderr"])):
            file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(file, descriptor)
            os.close(file)
        os.environ.update(job["faults"])
        if job["plant"]:
            PLANTS[job["plant"]]()
        ctypes.CDLL(None).fault_start()
        code = run_command(job["arguments"])
        sys.stdout.flush()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def wait(child: int, kill_after: float) -> int:
    """The exit code of a child, which is killed with its own children when time is over."""
    end = time.monotonic() + kill_after
    while time.monotonic() < end:
        finished, status = os.waitpid(child, os.WNOHANG)
        if finished:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.killpg(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return STOPPED if code == -signal.SIGKILL else code


def main() -> None:
    """Answers until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from keras_attn_nmt.cli.keras_import import import_keras

    import_keras()
    for name in IMPORTED:
        importlib.import_module(name)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            run_child(job)
        os.setpgid(child, child)
        print(wait(child, job["kill_after"]), file=answers, flush=True)


if __name__ == "__main__":
    main()
