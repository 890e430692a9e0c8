"""Rows of several structures as dense arrays."""

import pytest
import torch

from aiida_hamlr.model.padding import Padding

COUNTS = [2, 4, 0, 3]


@pytest.mark.parametrize('counts', [COUNTS, [5]])
def test_rows_come_back(counts):
    padding, rows = Padding(torch.tensor(counts)), torch.randn(sum(counts), 3)
    dense = padding(rows)
    assert dense.shape == (len(counts), max(counts), 3)
    assert torch.equal(padding.inverse(dense), rows)
    for number, (count, part) in enumerate(zip(counts, rows.split(counts), strict=True)):
        assert torch.equal(dense[number, :count], part) and not dense[number, count:].any()


@pytest.mark.parametrize('counts', [COUNTS, [5]])
def test_matrices_of_the_structures(counts):
    blocks = [torch.randn(count, count, 3) for count in counts]
    dense = Padding(torch.tensor(counts)).matrices(torch.cat([block.reshape(-1, 3) for block in blocks]))
    expected = torch.zeros(len(counts), max(counts), max(counts), 3)
    for number, (count, block) in enumerate(zip(counts, blocks, strict=True)):
        expected[number, :count, :count] = block
    assert torch.equal(dense, expected)
