"""What is said when a checkpoint cannot be written."""

import errno
import types

import pytest

from keras_attn_nmt.training import callbacks


@pytest.mark.parametrize(("epoch", "advice"), [(0, "start again"), (1, "resume with --resume")])
def test_only_a_saved_epoch_can_be_resumed(tmp_path, epoch, advice):
    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    history = callbacks.History([{"val_loss": 1.0}] * (epoch + 1))
    checkpoints = callbacks.Checkpoints(tmp_path, "val_loss", history, full)
    checkpoints.set_model(types.SimpleNamespace(stop_training=False))
    with pytest.raises(OSError, match=f"No space left on device.* Free disk space and {advice}"):
        checkpoints.on_epoch_end(epoch)
