"""Training: corpora, batching, recipes and the training loop."""

from keras_attn_nmt.training.evaluation import corpus_scores, evaluate
from keras_attn_nmt.training.recipe import Recipe
from keras_attn_nmt.training.recipe_files import load_recipe
from keras_attn_nmt.training.trainer import train

__all__ = ["Recipe", "corpus_scores", "evaluate", "load_recipe", "train"]
