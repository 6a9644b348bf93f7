"""Keras layers, losses, metrics and the optimizer."""
