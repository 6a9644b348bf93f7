"""Data sets of this package, registered with TFDS by importing them."""

from keras_attn_nmt.training.datasets.multi30k import Multi30k
from keras_attn_nmt.training.datasets.phrases import Phrases, PhrasesConfig

__all__ = ["Multi30k", "Phrases", "PhrasesConfig"]
