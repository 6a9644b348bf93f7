"""Runs the command line: `python -m keras_attn_nmt.cli`."""

import sys

from keras_attn_nmt.cli import main

if __name__ == "__main__":
    sys.exit(main())
