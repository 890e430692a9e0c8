"""The executable in an empty folder, and a small study made with it: pseudopotentials, orbitals, Hamiltonians."""

import pytest
from ase.build import bulk
from click.testing import CliRunner

from aiida_hamlr.jobs.cli import main


@pytest.fixture
def hamlr(tmp_path, monkeypatch):
    """Function: run the executable in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)

    return run


@pytest.fixture(scope='session')
def study(tmp_path_factory):
    """Folder with pseudos/, basis/ and Hamiltonians in train/ (three), valid/, test/: H is 1.02 H0."""
    from aiida_hamlr.electronic.integrals.h0 import compute_h0
    from aiida_hamlr.jobs.inputs import read_basis_folder, read_pseudo_folder

    folder = tmp_path_factory.mktemp('study')

    def run(*arguments):
        result = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.stderr

    run('pseudo', 'Al', 'As', '-o', folder / 'pseudos')
    for element in ('Al', 'As'):
        upf, output = folder / f'pseudos/{element}.upf', folder / f'basis/{element}.basis.h5'
        run('basis', '--upf', upf, '--recipe', 'plain', '--size', 'sz', '--cutoff-radius', 6, '-o', output)
    basis = read_basis_folder(folder / 'basis', ('Al', 'As'))
    pseudos = read_pseudo_folder(folder / 'pseudos', ('Al', 'As'))
    for seed in range(5):
        atoms = bulk('AlAs', 'zincblende', a=5.66)
        atoms.rattle(0.05, seed=seed)
        hamiltonian = compute_h0(atoms, basis, pseudos, 60.0)
        hamiltonian.matrices['hamiltonian'] = hamiltonian.h0 * 1.02
        hamiltonian.attributes.origin = 'reference'
        hamiltonian.write(folder / {3: 'valid', 4: 'test'}.get(seed, 'train') / f'{seed}.h5')
    return folder
