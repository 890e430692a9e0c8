"""Graphs of structures as data of torch_geometric, and batches of them."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch_geometric.data import Batch, Data

from aiida_hamlr.model import keys
from aiida_hamlr.model.graph_builder import batch_of

#: What torch_geometric adds to a batch: the first atom of every structure.
_ADDED = ('ptr',)


class Graph(Data):
    """Tensors of one structure by the names that :mod:`keys` declares.

    The network itself takes any mapping with these names; this class is for what is kept and joined to batches.

    Parameters
    ----------
    **tensors
        By name.

    Raises
    ------
    ValueError
        If a name is not declared, or a tensor does not have the declared shape or dtype; also later, when one is set.
    """

    def __setattr__(self, name: str, value):
        _check(name, value)
        super().__setattr__(name, value)

    def __setitem__(self, name: str, value):
        _check(name, value)
        super().__setitem__(name, value)

    def __cat_dim__(self, key: str, value, *args, **kwargs) -> int:
        return keys.REGISTRY[key].cat_dim

    def __inc__(self, key: str, value, *args, **kwargs) -> int:
        return self.n_atoms if keys.REGISTRY[key].counts_atoms else 0

    @property
    def n_atoms(self) -> int:
        """Number of atoms, of all structures in a batch."""
        return len(self[keys.SPECIES])

    @property
    def n_pairs(self) -> int:
        """Number of orbital pairs, of all structures in a batch."""
        return len(self[keys.PAIR_LENGTH])

    def with_pairs(self, chosen: torch.Tensor, leave_out: Sequence[str] = ()) -> Graph:
        """A copy with some of its pairs, (n,) indices, and without some tensors; the others are shared."""
        result = copy.copy(self)
        for name, value in self.to_dict().items():
            if name in leave_out:
                del result[name]
                continue
            dim = keys.REGISTRY[name].pair_dim
            if dim is not None:
                result[name] = value.index_select(dim, chosen)
        return result


def _check(name: str, value):
    if name.startswith('_') or name in _ADDED:
        return
    if name not in keys.REGISTRY:
        raise ValueError(f'{name!r} is no tensor of a graph; declare it in aiida_hamlr/model/keys.py')
    keys.REGISTRY[name].check(value)


def join_graphs(graphs: Sequence[Graph]) -> Graph:
    """One graph of several structures without edges between them; a single one is returned as it is.

    Raises
    ------
    ValueError
        If a tensor is missing in some of the graphs.
    """
    if len(graphs) == 1:
        return graphs[0]
    names = [set(graph.keys()) for graph in graphs]
    unequal = sorted(set.union(*names) - set.intersection(*names))
    if unequal:
        without = [number for number, present in enumerate(names) if unequal[0] not in present]
        raise ValueError(
            f'{unequal[0]}: structure {without[0]} of the batch (counted from 0) has no such tensor, others have; '
            'all structures of a batch need the same'
        )
    joined = Batch.from_data_list(list(graphs))
    # The two spins of a magnetic structure are structures of their own.
    joined[keys.BATCH] = batch_of(joined[keys.N_ATOMS])
    return joined
