"""All formats: what is written reads back exactly, and hostile files are refused in one line."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from foreign_examples import assert_same, example

from aiida_hamlr.electronic.magnetism import set_starting_moments, starting_moments
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.species import SPECIES_LABELS, set_species_labels
from aiida_hamlr.io.exchange import FORMATS, READABLE, find_format, read_foreign
from aiida_hamlr.jobs import cli_exchange

KINDS = {'plain': (1, False), 'two spins': (2, False), 'spin-orbit': (1, True), 'both': (2, True)}

#: What a format cannot hold.
REFUSED = {
    'deeptb': {'two spins': 'DeePTB holds no spin polarisation', 'spin-orbit': 'DeePTB holds no spin-orbit coupling'},
    'cp2k': {'spin-orbit': 'CP2K holds no spin-orbit coupling'},
}


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('name', READABLE)
def test_round_trip(name, kind, tmp_path):
    """Atoms apart, shells in any sequence, f shells, two spins, spin-orbit coupling: nothing changes."""
    if name == 'sisl':
        pytest.importorskip('sisl')
        pytest.importorskip('netCDF4')
    hamiltonian = example(*KINDS[kind])
    refusal = REFUSED.get(name, {}).get(kind.replace('both', 'spin-orbit'))
    if refusal:
        with pytest.raises(ValueError, match=refusal):
            FORMATS[name].write(hamiltonian, tmp_path)
        return
    FORMATS[name].write(hamiltonian, tmp_path)
    foreign = read_foreign(tmp_path, name)
    assert (foreign.attributes.origin, foreign.attributes.source_format) == ('imported', name)
    if name in ('deepx', 'deeph', 'sisl'):
        assert foreign.attributes.fermi_level == pytest.approx(1.2345, abs=1e-12)
    if name in ('deepx', 'cp2k', 'sisl'):
        assert foreign.attributes.n_electrons == 11.0
    assert_same(foreign.to_hamiltonian(hamiltonian.basis), hamiltonian)
    # Without a basis too the file can be written and read.
    foreign.to_hamiltonian().write(tmp_path / 'h.h5')
    read = Hamiltonian.read(tmp_path / 'h.h5')
    assert not read.basis['Al'].has_radial_functions
    assert read.attributes.n_spin == hamiltonian.n_spin


def test_names():
    assert (tuple(FORMATS), READABLE) == (cli_exchange.FORMATS, cli_exchange.READABLE)
    with pytest.raises(ValueError, match="unknown format 'openmx'"):
        find_format('openmx')
    with pytest.raises(ValueError, match='hamgnn is written but not read: its files are pickles'):
        read_foreign('graph_data.npz', 'hamgnn')
    with pytest.raises(ValueError, match='wannier90 is written but not read: Wannier functions are not'):
        read_foreign('hamlr_hr.dat', 'wannier90')
    with pytest.raises(ValueError, match='the format deepx takes no --frame'):
        read_foreign('.', 'deepx', frame=1)


@pytest.mark.parametrize('name', READABLE)
def test_where_a_structure_is_periodic_comes_back(name, tmp_path):
    if name == 'sisl':
        pytest.importorskip('netCDF4')
    hamiltonian = example()
    for pbc in ([True, False, False], [False, False, False], [True, True, True]):
        hamiltonian.atoms.pbc = pbc
        FORMATS[name].write(hamiltonian, tmp_path)
        assert read_foreign(tmp_path, name).atoms.pbc.tolist() == pbc
    for path in (tmp_path / 'info.json', tmp_path / 'basis.json', tmp_path / 'orbitals.json'):
        if path.exists():
            path.write_text(json.dumps(json.loads(path.read_text()) | {'pbc': 'z'}))
    if name != 'cp2k':
        with pytest.raises(ValueError, match=r'\.json: pbc is z; expected three of true and false'):
            read_foreign(tmp_path, name)


def labelled(hamiltonian):
    """The same with two species of aluminium, whose moments are opposite."""
    atoms, basis = hamiltonian.atoms.copy(), hamiltonian.basis
    set_species_labels(atoms, ['Al1', 'As', 'Al_b'])
    set_starting_moments(atoms, [1.5, 0.0, -1.5])
    return replace(hamiltonian, atoms=atoms, basis=Basis({'Al1': basis['Al'], 'Al_b': basis['Al'], 'As': basis['As']}))


@pytest.mark.parametrize('name', [name for name in READABLE if name != 'cp2k'])
def test_species_and_moments_come_back(name, tmp_path):
    if name == 'sisl':
        pytest.importorskip('netCDF4')
    hamiltonian = labelled(example())
    FORMATS[name].write(hamiltonian, tmp_path)
    foreign = read_foreign(tmp_path, name)
    for found in (foreign.to_hamiltonian(hamiltonian.basis), foreign.to_hamiltonian()):
        assert found.species == ['Al1', 'As', 'Al_b']
        assert list(found.basis) == ['Al1', 'Al_b', 'As']
        assert starting_moments(found.atoms).tolist() == [1.5, 0.0, -1.5]
    assert_same(foreign.to_hamiltonian(hamiltonian.basis), hamiltonian)
    with pytest.raises(ValueError, match='no basis for Al1, Al_b; there is one for Al, As'):
        foreign.to_hamiltonian(example().basis)
    beside = next(path for path in tmp_path.glob('*.json') if SPECIES_LABELS in path.read_text())
    content = json.loads(beside.read_text())
    for key, value, message in (
        (SPECIES_LABELS, ['Al1', 'As'], 'expected the species of each of 3 atoms'),
        (SPECIES_LABELS, ['As1', 'As', 'As'], r"atom 0 \(from 0\) is Al, but has the species label 'As1'"),
        ('starting_moments', [1.0, True, 0.0], 'expected a number, Bohr magnetons, for each of 3 atoms'),
        ('starting_moments', [1.0, float('nan'), 0.0], 'expected a number, Bohr magnetons, for each of 3 atoms'),
    ):
        beside.write_text(json.dumps(content | {key: value}))
        with pytest.raises(ValueError, match=rf'\.json: .*{message}'):
            read_foreign(tmp_path, name)


def test_frames_are_counted(tmp_path):
    FORMATS['deeptb'].write(example(), tmp_path)
    with pytest.raises(ValueError, match=r'info\.json: no frame 5: --frame counts from 0, and there is 1, so give 0'):
        read_foreign(tmp_path, 'deeptb', frame=5)


def test_another_basis_is_refused(tmp_path):
    hamiltonian = example()
    FORMATS['deepx'].write(hamiltonian, tmp_path)
    swapped = {'Al': hamiltonian.basis['Al'], 'As': replace(hamiltonian.basis['Al'], element='As')}
    with pytest.raises(ValueError, match='the file has 1s1p1f for As, the basis 2s1p1d'):
        read_foreign(tmp_path, 'deepx').to_hamiltonian(type(hamiltonian.basis)(swapped))


@pytest.mark.parametrize('name', ['deepx', 'deeph', 'deeptb', 'cp2k'])
def test_a_missing_file_is_named(name, tmp_path):
    FORMATS[name].write(example(), tmp_path)
    needed = [path for path in sorted(tmp_path.iterdir()) if path.name not in ('rlat.dat', 'R_list.dat')]
    for path in needed[:: max(1, len(needed) // 8)]:
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(ValueError, match=re.escape(path.name)) as caught:
            read_foreign(tmp_path, name)
        assert '\n' not in str(caught.value)
        path.write_bytes(content)


def test_blocks_of_one_direction_are_enough(tmp_path):
    """Legacy folders often hold half of the pairs."""
    import h5py

    hamiltonian = example()
    FORMATS['deeph'].write(hamiltonian, tmp_path)
    pattern = hamiltonian.pattern
    with h5py.File(tmp_path / 'hamiltonians.h5', 'a') as handle:
        for index in np.flatnonzero(np.arange(len(pattern)) > pattern.reverse):
            x, y, z, i, j = pattern.atom_pairs[index].tolist()
            del handle[f'[{x}, {y}, {z}, {i + 1}, {j + 1}]']
    assert_same(read_foreign(tmp_path, 'deeph').to_hamiltonian(hamiltonian.basis), hamiltonian)


@pytest.mark.parametrize('matrix', ['hamiltonian', 'overlap'])
def test_matrices_that_are_not_symmetric_are_refused(matrix, tmp_path):
    import h5py

    FORMATS['deepx'].write(example(), tmp_path)
    with h5py.File(tmp_path / f'{matrix}.h5', 'a') as handle:
        handle['entries'][-1] += 1.0
    with pytest.raises(ValueError, match=rf'/{matrix}\.h5: {matrix}: blocks of R and -R differ by 1\.0e\+00'):
        read_foreign(tmp_path, 'deepx')
