"""Graphs on disk: the same training as from memory, and none from a damaged file."""

import pytest
import torch
from pydantic import ValidationError

from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.model.config import TrainingConfig
from aiida_hamlr.model.training.cache import CachedExamples, cache_key, n_edges, read_example
from aiida_hamlr.model.training.examples import make_example
from aiida_hamlr.model.training.processes import Processes
from aiida_hamlr.model.training.references import Reference

SHELLS = {'Al': [0, 1], 'As': [0, 1, 1]}


@pytest.fixture
def make_cached(tmp_path, training_files, make_basis):
    tables = TwoCentreTables(make_basis(SHELLS))

    def make(model):
        return CachedExamples(tmp_path / 'cache', model, training_files[:2], tables, Processes(1, 2))

    return make


def test_what_is_loaded_is_what_was_made(make_cached, make_model, training_files):
    model = make_model(SHELLS, variant='lr', pair_cutoff=4.5)
    cached = make_cached(model)
    assert len(cached) == 2
    for index, path in enumerate(training_files[:2]):
        reference = Reference.read(path)
        expected = make_example(model, reference, TwoCentreTables(reference.basis))
        model.normalise(expected.graph)
        loaded = cached[index]
        assert loaded.name == expected.name and cached.edges[index] == n_edges(expected)
        assert loaded.selection.n_half == expected.selection.n_half
        assert (loaded.selection.other == expected.selection.other).all()
        assert set(loaded.graph.keys()) == set(expected.graph.keys())
        assert all(torch.equal(loaded.graph[name], expected.graph[name]) for name in expected.graph.keys())


def test_graphs_are_made_once_and_damaged_ones_again(tmp_path, make_cached, make_model):
    model = make_model(SHELLS, pair_cutoff=4.5)
    make_cached(model)
    files = sorted((tmp_path / 'cache').iterdir())
    damaged = bytearray(files[0].read_bytes())
    damaged[-8] ^= 1
    files[0].write_bytes(damaged)
    with pytest.raises(ValueError, match='does not have its recorded sha256'):
        read_example(files[0], 'damaged')
    files[1].write_bytes(files[1].read_bytes()[:1000])
    make_cached(model)
    assert sorted((tmp_path / 'cache').iterdir()) == files
    for file in files:
        read_example(file, 'made again')
    times = [file.stat().st_mtime_ns for file in files]
    make_cached(model)
    assert [file.stat().st_mtime_ns for file in files] == times


def test_the_key_follows_the_geometry_alone(make_model, training_files):
    keys = [
        cache_key(make_model(SHELLS, **{'pair_cutoff': 4.5, **settings}), training_files[0])
        for settings in ({}, {'hidden_channels': 16}, {'message_cutoff': 5.5}, {'pair_cutoff': 5.0}, {'variant': 'lr'})
    ]
    assert keys[0] == keys[1] and len(set(keys)) == 4
    assert cache_key(make_model(SHELLS, pair_cutoff=4.5), training_files[1]) not in keys


def test_bands_are_not_in_the_cache():
    with pytest.raises(ValidationError, match='have no bands'):
        TrainingConfig(cache='here', loss={'band_weight': 1.0})
