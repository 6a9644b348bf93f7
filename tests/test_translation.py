"""Translations and their errors, in worker processes."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest

from keras_attn_nmt.translation import MAX_SOURCE_LENGTH, TextTooLong, check_lengths


def test_an_error_of_a_worker_process_reaches_the_parent_and_leaves_the_pool_running():
    short, long = [1] * 3, [1] * (MAX_SOURCE_LENGTH + 1)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        refused = pool.submit(check_lengths, [short, long], "reference")
        accepted = pool.submit(check_lengths, [short], "text")
        with pytest.raises(
            TextTooLong, match=r"^Reference 2 has 1001 tokens, the limit is 1000: "
        ) as error:
            refused.result()
        assert accepted.result() == [short]
    raised = error.value
    assert (raised.index, raised.length, raised.limit, raised.kind) == (1, 1001, 1000, "reference")
