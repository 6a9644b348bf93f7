"""Text: lines and blanks, normalization, tokens, and words of tokens and their alignment."""
