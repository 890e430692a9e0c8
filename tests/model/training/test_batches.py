"""Batches: every structure once in an epoch, within the limits, and the same again after an interruption."""

import numpy as np
import pytest

from aiida_hamlr.model.training.batches import BatchSampler
from aiida_hamlr.model.training.processes import Processes

EDGES = np.random.default_rng(0).integers(20, 200, 30).tolist()


def flat(batches):
    return sorted(index for batch in batches for index in batch)


def test_epochs_have_their_own_order_that_repeats():
    sampler = BatchSampler([1] * 10, seed=3)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    sampler.set_epoch(0)
    assert list(sampler) == first
    assert sorted(item[0][0] for item in second) == list(range(10))
    assert [item[0][0] for item in first] != [item[0][0] for item in second]
    assert {item[0][1] for item in second} == {1}


@pytest.mark.parametrize('limits', [{'batch_size': 4}, {'max_edges': 400}])
def test_every_structure_comes_once(limits):
    sampler = BatchSampler(EDGES, 1, **limits)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        assert flat(sampler.batches(epoch)) == list(range(30))
        assert len(sampler) == len(list(sampler))


def test_batches_hold_no_more_edges_than_allowed():
    sampler = BatchSampler([*EDGES, 1000], 1, max_edges=400)
    batches = sampler.batches(5)
    sums = [sum(sampler.edges[index] for index in batch) for batch in batches if batch != [30]]
    assert [30] in batches and max(sums) <= 400
    # No batch could have taken the next one's first structure.
    assert all(
        sum(sampler.edges[index] for index in batch) + sampler.edges[after[0]] > 400
        for batch, after in zip(batches, batches[1:], strict=False)
    )


def test_processes_share_an_epoch():
    shares = [BatchSampler([1] * 9, 0, 1, None, Processes(rank, 2)).batches(0) for rank in range(2)]
    assert len(shares[0]) == len(shares[1]) == 5
    assert set(flat(shares[0] + shares[1])) == set(range(9))


def test_two_processes_see_what_one_sees_with_batches_of_twice_the_size():
    whole = BatchSampler([1] * 12, 0, 6).batches(2)
    halves = [BatchSampler([1] * 12, 0, 3, None, Processes(rank, 2)).batches(2) for rank in range(2)]
    assert [one + other for one, other in zip(*halves, strict=True)] == whole


def test_the_parts_of_an_epoch_are_the_epoch():
    sampler = BatchSampler([1] * 11, 0, 2, n_parts=3)
    parts = []
    for part in range(3, 6):
        sampler.set_epoch(part)
        parts += list(sampler)
        assert len(sampler) == 2
    assert [[index for index, _ in batch] for batch in parts] == sampler.batches(1)
    assert {epoch for batch in parts for _, epoch in batch} == {1}
