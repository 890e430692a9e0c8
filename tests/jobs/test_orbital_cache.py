"""Generated orbitals are kept by content."""

import pytest

from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential
from aiida_hamlr.jobs.orbital_cache import cache_folder, cached_orbitals


@pytest.fixture(scope='module')
def pseudos():
    return {'Al': make_pseudopotential('Al')}


@pytest.fixture
def counted(pseudos, tmp_path, monkeypatch):
    """Function that generates orbitals and the list of its calls; the cache is a folder of the test."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    calls = []

    def generate():
        calls.append(None)
        return Basis({'Al': generate_basis(pseudos['Al'], 'sz', 5.0)})

    return generate, calls


def test_the_second_time_the_same_orbitals_are_read(pseudos, counted, zincblende):
    generate, calls = counted
    recipe = {'Al': {'size': 'sz', 'cutoff_radius': 5.0}}
    first = cached_orbitals(pseudos, recipe, [], generate)
    again = cached_orbitals(pseudos, recipe, [], generate)
    assert len(calls) == 1 and again.content_hash == first.content_hash
    assert len(list(cache_folder().glob('*/Al.basis.h5'))) == 1
    # Another recipe, crystal or pseudopotential makes other orbitals.
    cached_orbitals(pseudos, {'Al': {'size': 'sz', 'cutoff_radius': 6.0}}, [], generate)
    cached_orbitals(pseudos, recipe, [zincblende()], generate)
    cached_orbitals({'Al': make_pseudopotential('Si')}, recipe, [], generate)
    assert len(calls) == 4


def test_damaged_entries_are_generated_anew(pseudos, counted, capsys):
    generate, calls = counted
    cached_orbitals(pseudos, {}, [], generate)
    (path,) = cache_folder().glob('*/Al.basis.h5')
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    cached_orbitals(pseudos, {}, [], generate)
    assert len(calls) == 2 and 'damaged and are generated anew' in capsys.readouterr().out
    cached_orbitals(pseudos, {}, [], generate)
    assert len(calls) == 2


def test_a_cache_that_cannot_be_written_is_not_used(pseudos, counted, tmp_path, capsys):
    generate, calls = counted
    (tmp_path / 'cache').write_text('a file')
    assert cached_orbitals(pseudos, {}, [], generate).n_orbitals(['Al']).tolist() == [4]
    assert len(calls) == 1 and 'could not be kept' in capsys.readouterr().out


def test_relative_cache_folders_are_ignored(monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', 'here')
    assert cache_folder().is_absolute()
