"""Tests of the figure of a node's history."""

import shutil

import pytest
from aiida import orm

from aiida_hamlr.calculations.functions.dataset import create_dataset
from aiida_hamlr.plotting.provenance import ProvenanceGraph, plot_provenance


@pytest.fixture
def dataset(make_hamiltonian_node):
    """Return a dataset of three Hamiltonians."""
    nodes = {f'h{index}': make_hamiltonian_node(seed=index) for index in range(3)}
    return create_dataset(orm.Dict({'train': ['h0', 'h1', 'h2']}), orm.Int(0), **nodes)


def test_text(dataset):
    """Nodes of one kind are one line; parameters are left out."""
    assert ProvenanceGraph.of(dataset).to_text().splitlines() == [
        f'DatasetData<{dataset.pk}>',
        f'  <- create_dataset<{dataset.creator.pk}>',
        '    <- 3 × HamiltonianData',
    ]


def test_edges(dataset):
    """Edges go from cause to effect."""
    graph = ProvenanceGraph.of(dataset)
    names = [(graph.boxes[first].name, graph.boxes[second].name) for first, second in graph.edges]
    assert sorted(names) == [('HamiltonianData', 'create_dataset'), ('create_dataset', 'DatasetData')]


def test_root(make_hamiltonian_node):
    """A node that nobody calculated is alone."""
    node = make_hamiltonian_node()
    assert ProvenanceGraph.of(node).to_text() == f'HamiltonianData<{node.pk}>\n'


@pytest.mark.skipif(shutil.which('dot') is None, reason='graphviz is not installed')
def test_figure(dataset, tmp_path):
    """The figure is a PNG file."""
    path = plot_provenance(dataset, tmp_path / 'folder' / 'provenance.png')
    assert path.read_bytes().startswith(b'\x89PNG')


def test_without_graphviz(dataset, tmp_path, monkeypatch):
    """Without graphviz the same is written as text."""
    monkeypatch.setenv('PATH', str(tmp_path))
    assert plot_provenance(dataset, tmp_path / 'a.png') == tmp_path / 'a.txt'
    assert '3 × HamiltonianData' in (tmp_path / 'a.txt').read_text()
