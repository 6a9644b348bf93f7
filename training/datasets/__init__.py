"""TFDS data sets of this package, registered on import."""

from keras_attn_nmt.training.datasets.multi30k import Multi30k
from keras_attn_nmt.training.datasets.phrases import Phrases, PhrasesConfig

__all__ = ["Multi30k", "Phrases", "PhrasesConfig"]
