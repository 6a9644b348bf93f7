"""`FusedAdam` is in `keras_attn_nmt`; this name for it goes with the next release."""

from keras_attn_nmt.layers.optimizer import FusedAdam

__all__ = ["FusedAdam"]
