"""What goes wrong in an export that is nobody's input."""


class ExportError(ValueError):
    """What was exported is not what it should be."""
