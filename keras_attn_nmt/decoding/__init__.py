"""Decoding: incremental decoder, greedy and beam search, vocabulary shortlists."""
