"""Pure functions of a recurrent step, each beside its backward pass, and the loop that runs them.

No layer and no weight lives here: all tensors are arguments. `cells` has the GRU and the LSTM,
`scores` the attention step, `loop` the scan over positions with its gradient.
"""
