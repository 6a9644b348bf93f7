"""Self-contained HTML pages that show what a model does. Requires only NumPy."""
