"""Deprecated location of `FusedAdam`, removed in the next release: use `keras_attn_nmt`."""

from keras_attn_nmt.layers.optimizer import FusedAdam

__all__ = ["FusedAdam"]
