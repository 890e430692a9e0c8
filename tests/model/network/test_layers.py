"""Operations on the features of atoms and edges."""

import torch

from aiida_hamlr.model.network.layers import AddRows, Features


def test_rows_are_added_at_their_places_with_the_right_gradient():
    generator = torch.Generator().manual_seed(0)
    sums = torch.randn(3, 2, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    rows = torch.randn(5, 2, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    places = torch.tensor([2, 0, 2, 2, 0])
    found = AddRows.apply(sums.clone(), rows, places)
    expected = torch.stack([sums[0] + rows[1] + rows[4], sums[1], sums[2] + rows[0] + rows[2] + rows[3]])
    assert torch.allclose(found, expected, rtol=0, atol=1e-15)
    assert torch.autograd.gradcheck(lambda sums, rows: AddRows.apply(sums.clone(), rows, places), (sums, rows))


def test_added_rows_are_not_kept_for_the_gradient():
    rows = Features(*(torch.randn(50, *shape, requires_grad=True) for shape in ((4,), (9, 2), (3, 2))))
    places, kept = torch.arange(50) % 3, []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        sums = Features(*(torch.zeros(3, *shape) for shape in ((4,), (9, 2), (3, 2)))).with_rows(rows, places)
    sums.natural.sum().backward()
    assert [tuple(tensor.shape) for tensor in kept] == [(50,)] * 3
    assert torch.equal(rows.natural.grad, torch.ones(50, 9, 2)) and rows.scalars.grad is None
