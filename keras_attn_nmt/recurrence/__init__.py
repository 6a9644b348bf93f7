"""Pure functions of recurrent and attention steps with their backward passes.

There are no layers or weights; all tensors are arguments. `cells` implements GRU and LSTM,
`scores` the attention step, `loop` the scan over positions and its gradient.
"""
