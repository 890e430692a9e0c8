"""Graphs and targets on disk: made once, loaded batch by batch, so that a data set may be larger than the memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from aiida_hamlr import __version__
from aiida_hamlr.electronic.files import atomic_path, content_digest
from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.model import keys
from aiida_hamlr.model.graph import Graph
from aiida_hamlr.model.graph_builder import PairSelection
from aiida_hamlr.model.training.examples import Example, make_example
from aiida_hamlr.model.training.processes import Processes
from aiida_hamlr.model.training.references import Reference

#: Raised when what a graph holds changes.
VERSION = 5

#: Settings of a model that its graphs do not depend on; any other may matter.
WITHOUT_EFFECT = {
    'variant',
    'layers',
    'scalar_channels',
    'natural_channels',
    'unnatural_channels',
    'hidden_channels',
    'pair_channels',
    'radial_basis',
    'radial_hidden',
    'field_features',
}

_BLOCKS, _OTHER = 'selection.blocks', 'selection.other'


def cache_key(model, path: str | Path) -> str:
    """Name of a file's graph: a hash of the file's bytes and of what the model's graphs depend on."""
    settings = {
        'version': [VERSION, __version__],
        'shells': model.slots.shells,
        'max_degree': model.network.widths.max_degree,
        'pair_cutoff': model.pair_cutoff,
        'long_range': model.long_range is not None,
        'precision': str(model.dtype),
        'config': {name: value for name, value in model.config.flat().items() if name not in WITHOUT_EFFECT},
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    digest.update(Path(path).read_bytes())
    return digest.hexdigest()


class CachedExamples(Sequence):
    """Examples of files, each loaded when it is asked for.

    Parameters
    ----------
    folder : path
        Of the cache; what it lacks or what is damaged there is made from the Hamiltonian files. Several processes may
        use it at the same time.
    model : HamiltonianModel
        Gives the graphs their tables when they are loaded.
    paths : sequence of path
        Hamiltonian files.
    tables : TwoCentreTables
        Of the bases of the files.
    processes : Processes, optional
        Every process begins at another file, and finds those made that others began with.
    """

    def __init__(self, folder: str | Path, model, paths, tables: TwoCentreTables, processes: Processes | None = None):
        processes = processes or Processes()
        self.model, self.paths = model, [str(path) for path in paths]
        self._files = [Path(folder) / f'{cache_key(model, path)}.safetensors' for path in self.paths]
        #: Edges and pairs of every structure.
        self.edges = [0] * len(self.paths)
        first = processes.rank * len(self.paths) // processes.size
        for index in np.roll(np.arange(len(self.paths)), -first):
            try:
                example = read_example(self._files[index], self.paths[index])
            except ValueError:
                example = make_example(model, Reference.read(self.paths[index]), tables)
                write_example(self._files[index], example)
            self.edges[index] = n_edges(example)

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index: int) -> Example:
        example = read_example(self._files[index], self.paths[index])
        self.model.normalise(example.graph)
        return example


def n_edges(example: Example) -> int:
    """Message edges and predicted pairs of a structure: what its share of time and memory follows."""
    return len(example.graph[keys.EDGE_LENGTH]) + example.selection.n_half


def write_example(path: Path, example: Example):
    """Write a graph and its selection of pairs, without what a model's tables add."""
    selection = example.selection
    tensors = {
        **example.graph.to_dict(),
        _BLOCKS: torch.as_tensor(selection.blocks),
        _OTHER: torch.as_tensor(selection.other),
    }
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    metadata = {'n_half': str(selection.n_half), 'sha256': _digest(tensors)}
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(tensors, metadata))


def read_example(path: Path, name: str) -> Example:
    """Inverse of :func:`write_example`; ``name`` is what the structure is called.

    Raises
    ------
    ValueError
        If there is no such file, or it is damaged.
    """
    try:
        with safe_open(path, 'pt') as handle:
            metadata = handle.metadata() or {}
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}
    except (OSError, SafetensorError) as error:
        raise ValueError(f'{path}: no such graph, or truncated; start again to have it made') from error
    if metadata.get('sha256') != _digest(tensors):
        raise ValueError(f'{path}: does not have its recorded sha256; start again to have it made')
    blocks, other = tensors.pop(_BLOCKS).numpy(), tensors.pop(_OTHER).numpy()
    return Example(Graph(**tensors), PairSelection(blocks, int(metadata['n_half']), other), name)


def _digest(tensors: dict[str, torch.Tensor]) -> str:
    return content_digest({name: value.numpy() for name, value in tensors.items()})
