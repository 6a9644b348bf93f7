"""The model of Bahdanau, Cho & Bengio (ICLR 2015, arXiv:1409.0473) in NumPy, only for tests.

Written from appendix A of the paper, and from the papers of the options, in plain loops over
sentences and time steps, in float64, so that it can be read next to them. Nothing here was taken
from the layers that it checks.

Conventions, the paper's own:

* Matrices stand on the left of column vectors: `W @ x` with `W` of shape (outputs, inputs).
  A Keras kernel is the transpose.
* `E` has one column per word, shape (embedding size m, vocabulary K); `E y` of the paper, `y`
  being one-hot, is `E[:, y]`.
* Parameters are plain dicts, keys named as in the paper. The paper leaves biases out "to make the
  equations less cluttered"; here every bias is a key that may be absent, which is zero.
* Word 0 is padding and stands to the right of the words. `real` is True where there is a word.
"""
