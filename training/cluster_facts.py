"""What the processes of a training must have in common: settings, versions, vocabularies, data."""

from __future__ import annotations

from collections.abc import Callable

import keras

from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.training.cluster import Cluster
from keras_attn_nmt.training.data import BatchedPairs
from keras_attn_nmt.training.device import versions
from keras_attn_nmt.training.recipe import Recipe
from keras_attn_nmt.training.recipe_files import all_settings

# They may differ between machines: the data itself is compared, and process 0 alone reads the
# models and vectors.
_LOCAL_SETTINGS = (
    "data.folder",
    "data.cache",
    "vocabulary.source_model",
    "vocabulary.target_model",
    "vocabulary.source_vectors",
    "vocabulary.target_vectors",
)
# They have no part in training.
_IRRELEVANT_PACKAGES = ("sacrebleu",)


def check_same_settings(
    cluster: Cluster, recipe: Recipe, resume: bool, with_parent: bool, keep_optimizer: bool
) -> None:
    """Raises `ValueError` if the processes have different recipes, options or versions."""
    if cluster.processes == 1:
        return
    backend = keras.backend.backend()
    facts = {
        name: value for name, value in all_settings(recipe).items() if name not in _LOCAL_SETTINGS
    }
    facts |= {
        f"version of {name}": version
        for name, version in versions().items()
        if name not in _IRRELEVANT_PACKAGES
    }
    facts |= {
        "Keras backend": backend,
        "--resume": resume,
        "--from": with_parent,
        "--keep-optimizer": keep_optimizer,
    }
    cluster.check_same(facts)


def check_same_data(cluster: Cluster, data: BatchedPairs, validation: BatchedPairs) -> None:
    """Raises `ValueError` if the processes have read different data."""
    if cluster.processes == 1:
        return
    facts: dict[str, object] = {}
    for name, batched in (("training", data), ("validation", validation)):
        facts[f"number of {name} pairs"] = batched.plan.pairs
        facts[f"digest of the {name} data"] = " ".join(batched.digests)
    cluster.check_same(facts)


def shared_tokenizers(
    cluster: Cluster, make: Callable[[], tuple[Tokenizer, Tokenizer]]
) -> tuple[Tokenizer, Tokenizer]:
    """The tokenizers that process 0 makes, in all processes."""
    if cluster.processes == 1:
        return make()
    made: list[Tokenizer] = []

    def content(side: int) -> bytes:
        made.extend(made or make())
        return made[side].model_proto

    source = cluster.bytes_from_first(lambda: content(0))
    target = cluster.bytes_from_first(lambda: content(1))
    tokenizer = Tokenizer(source)
    # The same object twice if shared.
    return tokenizer, tokenizer if source == target else Tokenizer(target)
