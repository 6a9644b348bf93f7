"""Reliability campaigns: each module has functions that return rows of the table, seed given."""
