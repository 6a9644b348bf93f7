"""Writes the model of a training run and `training.json`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from keras_attn_nmt import model_directory, writing
from keras_attn_nmt.model_directory import ModelFiles
from keras_attn_nmt.model_file import load_weights
from keras_attn_nmt.run_record import DATA_DIGESTS, TRAINING, VALIDATION_DIGESTS
from keras_attn_nmt.training import callbacks
from keras_attn_nmt.training.data import BatchedPairs
from keras_attn_nmt.training.device import describe_device, versions
from keras_attn_nmt.training.distribution import Replicas
from keras_attn_nmt.training.evaluation import bleu_signature
from keras_attn_nmt.training.parents import Parent
from keras_attn_nmt.training.recipe import Recipe
from keras_attn_nmt.training.resuming import changes, vocabulary_files


class RunWriter:
    """Writes the best model and `training.json`; only for process 0.

    Args:
        output: Model directory.
        recipe: The recipe.
        files: Model, configuration and tokenizers.
        data: The training batches.
        validation: The validation batches.
        parent: The parent.
        done: Number of epochs that were done before.
        replicas: The devices.
        start: `time.perf_counter()` at the start.
    """

    def __init__(
        self,
        output: Path,
        recipe: Recipe,
        files: ModelFiles,
        data: BatchedPairs,
        validation: BatchedPairs,
        parent: Parent | None,
        done: int,
        replicas: Replicas,
        start: float,
    ):
        self.output, self.recipe, self.files = output, recipe, files
        plan = data.plan
        self.report = {
            "recipe": recipe.to_dict(),
            "vocabulary_files": vocabulary_files(output),
            "parent": parent.record if parent else None,
            "changes": changes(output),
            "seed": recipe.training.seed,
            "versions": versions(),
            "device": describe_device(files.model),
            "processes": replicas.cluster.processes,
            "parameters": files.model.count_params(),
            "pairs": plan.pairs,
            DATA_DIGESTS: list(data.digests),
            VALIDATION_DIGESTS: list(validation.digests),
            "dropped_pairs": dict(plan.dropped),
            "mixed_pairs": [share.summary() for share in plan.shares],
            "padding": plan.padding,
            "target_tokens_per_epoch": plan.target_tokens,
            "resumed_after_epoch": done,
            "bleu_signature": bleu_signature(recipe.training.bleu_tokenize),
        }
        self.setup_seconds = time.perf_counter() - start

    def write(self, history: list[dict[str, float]], finished: bool) -> dict[str, Any]:
        """Writes the best model and `training.json`; returns the content of the latter."""
        best = callbacks.best_epoch(history, self.recipe.training.monitor)
        config = self.files.config
        assert config is not None
        final = model_directory.build_float32(config)
        checkpoints = self.output / model_directory.CHECKPOINTS
        load_weights(final, checkpoints / callbacks.weights_file(best))
        # Not the search options of the recipe: `tune` may have changed them.
        files = self.files._replace(model=final)
        model_directory.save_model(self.output, files, keep_search=True)
        written = {
            **self.report,
            "finished": finished,
            "seconds": self.setup_seconds + sum(epoch["seconds"] for epoch in history),
            "best_epoch": best + 1,
            "metrics": history[best],
            "history": history,
        }
        writing.write_text(self.output / TRAINING, json.dumps(written, indent=2) + "\n")
        return written
