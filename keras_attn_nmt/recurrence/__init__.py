"""Pure functions of recurrent and attention steps with their backward passes.

There are no layers or weights here: all tensors are arguments. `cells` has GRU and LSTM, `scores`
the attention step, `loop` the scan over positions and its gradient.
"""
