"""Training by the command in several processes: whoever is killed, nothing is lost."""

from pathlib import Path

import pytest
from training_processes import WITHOUT_DROPOUT, check_equal_weights, train, weights, write_corpus

pytestmark = pytest.mark.slow

# Where a process kills itself, in the second epoch.
KILLS = {
    "in an epoch": "callbacks.Progress.on_train_batch_end = in_second_epoch",
    "at the end of an epoch": "run_callbacks.InFirstProcess.on_epoch_end = before_waiting",
    "writing a checkpoint": "callbacks.Checkpoints.on_epoch_end = half_written",
}
TERMINATED = "die = lambda *_: os.kill(os.getpid(), signal.SIGTERM)\n"
PROGRAM = """
import os, signal, sys
from keras_attn_nmt import cli
from keras_attn_nmt.training import callbacks, run_callbacks

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def in_second_epoch(self, number, logs=None):
    if os.path.exists(os.environ["FIRST_EPOCH"]):
        die()

wait = run_callbacks.InFirstProcess.on_epoch_end

def before_waiting(self, epoch, logs=None):
    if epoch:
        die()
    wait(self, epoch, logs)

in_order = callbacks.Checkpoints.on_epoch_end

def half_written(self, epoch, logs=None):
    save = self.save_weights
    self.save_weights = lambda path: (save(path), epoch and die())
    in_order(self, epoch, logs)

exec(os.environ["KILL"])
sys.exit(cli.main())
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module", params=["tensorflow", "jax"])
def backend(request):
    return request.param


@pytest.fixture(scope="module")
def expected(backend, corpus, tmp_path_factory):
    """The weights of one process."""
    output = tmp_path_factory.mktemp("one") / "model"
    [(code, messages)] = train(backend, corpus, output, 1, settings=WITHOUT_DROPOUT)
    assert code == 0, messages
    return weights(output)


@pytest.mark.parametrize(
    ("when", "killed"),
    [
        ("in an epoch", 0),
        ("in an epoch", 1),
        ("at the end of an epoch", 1),
        ("writing a checkpoint", 0),
    ],
)
def test_the_other_misses_a_killed_process_and_the_run_can_be_resumed(
    backend, corpus, expected, tmp_path, when, killed
):
    output = tmp_path / "model"
    environments = [
        {"FIRST_EPOCH": str(Path(output, "training.json")), "KILL": KILLS[when] * (i == killed)}
        for i in range(2)
    ]
    results = train(
        backend,
        corpus,
        output,
        2,
        settings=WITHOUT_DROPOUT,
        program=PROGRAM,
        environments=environments,
    )
    assert results[killed][0] == -9, results[killed][1]
    code, messages = results[1 - killed]
    assert code == 1, messages
    last = messages.strip().splitlines()[-1]
    assert last.startswith(f"keras-attn-nmt: error: Process {killed} ("), messages
    assert "--resume" in last
    # Resumed by another number of processes, too.
    processes = 1 if killed else 2
    results = train(backend, corpus, output, processes, "--resume", settings=WITHOUT_DROPOUT)
    assert [code for code, _ in results] == [0] * len(results), results
    check_equal_weights(output, expected)


def test_sigterm_stops_a_process_and_the_other(backend, corpus, tmp_path):
    output = tmp_path / "model"
    environments = [
        {
            "FIRST_EPOCH": str(output / "training.json"),
            "KILL": (TERMINATED + KILLS["in an epoch"]) * (i == 1),
        }
        for i in range(2)
    ]
    other, stopped = train(
        backend,
        corpus,
        output,
        2,
        settings=WITHOUT_DROPOUT,
        program=PROGRAM,
        environments=environments,
    )
    assert stopped[0] == 143
    assert "keras-attn-nmt: stopped." in stopped[1]
    assert other[0] == 1
    assert "Process 1 stopped: SIGTERM" in other[1]
