"""Errors of exports."""


class ExportError(ValueError):
    """Raised when an exported model fails verification."""
