"""From a trained model to hypotheses: step by step, greedy and beam search, shortlists."""
