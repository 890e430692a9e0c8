"""`hamlr export`: folders, what is lost, and what is refused."""

import json
from dataclasses import replace

import numpy as np
from e3nn.o3 import Irrep, Irreps
from foreign_examples import example

from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.species import set_species_labels
from aiida_hamlr.io.exchange import read_foreign


def test_several_files_get_a_folder_each(hamlr, tmp_path):
    hamiltonian = example()
    hamiltonian.matrices['h0'] = hamiltonian.hamiltonian.copy()
    for name in ('a', 'b'):
        hamiltonian.write(tmp_path / f'{name}.h5')
    result = hamlr('export', 'a.h5', 'b.h5', '--format', 'deeptb', '-o', 'data')
    assert result.exit_code == 0, result.stderr
    assert 'not carried by deeptb: h0' in result.output
    found = read_foreign(tmp_path / 'data/hamlr.1', 'deeptb').to_hamiltonian(hamiltonian.basis)
    np.testing.assert_allclose(found.hamiltonian, hamiltonian.hamiltonian, rtol=0, atol=1e-12)
    summary = json.loads((tmp_path / 'data/summary.json').read_text())
    assert summary['format'] == 'deeptb' and summary['not_carried'] == ['h0']
    assert summary['folders'] == ['data/hamlr.0', 'data/hamlr.1']
    content = json.loads((tmp_path / 'data/input.json').read_text())
    part = json.loads((tmp_path / 'data/hamlr.1/basis.json').read_text())
    assert content['common_options']['basis'] == part['basis']
    assert content['model_options']['embedding']['r_max'] >= part['r_max']
    # All irreps of the products of two shells, of which the blocks are made.
    irreps = {str(irrep) for _, irrep in Irreps(content['model_options']['embedding']['irreps_hidden'])}
    shells = [Irrep(l, (-1) ** l) for each in hamiltonian.basis.values() for l in each.angular_momenta]
    assert irreps >= {str(irrep) for one in shells for other in shells for irrep in one * other}
    assert hamlr('export', 'a.h5', 'b.h5', '--format', 'hamgnn', '-o', 'graphs').exit_code == 0
    assert len(np.load('graphs/graph_data.npz', allow_pickle=True)['graph'].item()) == 2


def test_periodicity_that_is_lost_is_named(hamlr, tmp_path):
    hamiltonian = example()
    hamiltonian.atoms.pbc = [True, False, False]
    hamiltonian.write(tmp_path / 'chain.h5')
    assert 'not carried by wannier90: pbc\n' in hamlr('export', 'chain.h5', '--format', 'wannier90', '-o', 'w').output
    assert 'not carried' not in hamlr('export', 'chain.h5', '--format', 'deeph', '-o', 'd').output


def test_species_that_are_lost_are_named(hamlr, tmp_path):
    hamiltonian = example()
    atoms = hamiltonian.atoms.copy()
    set_species_labels(atoms, ['Al1', 'As', 'Al'])
    basis = Basis({**hamiltonian.basis, 'Al1': hamiltonian.basis['Al']})
    replace(hamiltonian, atoms=atoms, basis=basis).write(tmp_path / 'labelled.h5')
    for name in ('cp2k', 'wannier90'):
        output = hamlr('export', 'labelled.h5', '--format', name, '-o', name).output
        assert f'not carried by {name}: species_labels\n' in output
    assert 'not carried' not in hamlr('export', 'labelled.h5', '--format', 'deeph', '-o', 'd').output


def test_elements_of_one_data_set_have_the_same_shells(hamlr, tmp_path, make_hamiltonian, zincblende):
    example().write(tmp_path / 'a.h5')
    make_hamiltonian(zincblende()).write(tmp_path / 'b.h5')
    result = hamlr('export', 'a.h5', 'b.h5', '--format', 'deeptb', '-o', 'data')
    assert result.exit_code == 2 and 'atoms of Al have different shells' in result.stderr
    assert not (tmp_path / 'data').exists()


def test_refusals(hamlr, tmp_path):
    hamiltonian = example(spin_orbit=True)
    hamiltonian.write(tmp_path / 'spinors.h5')
    del hamiltonian.matrices['overlap']
    hamiltonian.write(tmp_path / 'half.h5')
    for arguments, message in {
        ('spinors.h5', '--format', 'cp2k', '-o', 'x'): 'CP2K holds no spin-orbit coupling',
        ('half.h5', '--format', 'deepx', '-o', 'x'): 'half: holds no overlap, so there is nothing to export',
        ('half.h5', '--format', 'deepx', '-o', 'half.h5'): 'half.h5: is a file',
        ('none.h5', '--format', 'deepx', '-o', 'x'): 'none.h5: no such file',
        ('half.h5', '--format', 'openmx', '-o', 'x'): "'openmx' is not one of",
    }.items():
        result = hamlr('export', *arguments)
        assert result.exit_code == 2 and message in result.stderr, result.stderr
        assert result.stderr.count('\n') == 1
