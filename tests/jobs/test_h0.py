"""`hamlr h0` and `hamlr bands` with spin-orbit coupling, from structure and pseudopotentials alone."""

import json

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write
from click.testing import CliRunner
from qe_fixtures import debian_pseudo

from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.jobs.cli import main


@pytest.fixture(scope='module')
def study(tmp_path_factory):
    """Silicon with a fully relativistic (FR) and a scalar-relativistic (SR) pseudopotential, minimal orbitals."""
    folder = tmp_path_factory.mktemp('h0')
    write(folder / 'si.extxyz', bulk('Si', 'diamond', a=5.43))
    full, scalar = debian_pseudo('Si_r.upf'), debian_pseudo('Si.pbe-rrkj.UPF')
    for name, pseudo in (('FR', full), ('SR', scalar)):
        (folder / name).mkdir()
        (folder / name / 'Si.upf').write_text(pseudo.text)
    (folder / 'basis').mkdir()
    generate_basis(full, 'sz', 6.0).write(folder / 'basis/Si.basis.h5')
    return folder


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def h0(study, pseudos, output, *options):
    arguments = ('h0', study / 'si.extxyz', '--basis', study / 'basis', '--pseudos', study / pseudos, '--ecutrho', 60)
    return run(*arguments, '-o', output, *options)


def test_bands_with_and_without(study, tmp_path):
    """The file holds K; its bands are those of spinors unless it is left out. Silicon has a small split-off."""
    output = tmp_path / 'a/h0.h5'
    output.parent.mkdir()
    assert h0(study, 'FR', output, '--spin-orbit').exit_code == 0
    assert Hamiltonian.read(output).has_spin_orbit
    results = []
    for name, options in (('with', ()), ('without', ('--no-spin-orbit',))):
        path = tmp_path / name / 'bands.h5'
        path.parent.mkdir()
        done = run('bands', output, '--matrix', 'h0', '--mesh', 1, 1, 1, '-o', path, *options)
        assert done.exit_code == 0, done.output
        results.append(Bands.read(path))
    spinors, scalar = results
    assert (spinors.electrons_per_band, scalar.electrons_per_band) == (1, 2)
    levels, plain = spinors.eigenvalues[0, 0], scalar.eigenvalues[0, 0]
    np.testing.assert_allclose(levels[::2], levels[1::2], atol=1e-9)
    split_off = levels[7] - levels[3]
    assert 0.02 < split_off < 0.08
    assert np.ptp(plain[1:4]) < 1e-6
    # p3/2 moves up by a third, p1/2 down by two thirds
    assert levels[7] - plain[3] == pytest.approx(split_off / 3, rel=0.1)
    assert spinors.spins.shape == (1, 3, levels.size)


def test_cutoff_is_that_of_the_pseudopotentials_unless_it_is_given(study, tmp_path):
    arguments = (
        'h0',
        study / 'si.extxyz',
        '--basis',
        study / 'basis',
        '--pseudos',
        study / 'FR',
        '-o',
        tmp_path / 'h.h5',
    )
    done = run(*arguments)
    assert done.exit_code == 0 and 'grid of 160 Ry' in done.output and 'warning' not in done.output
    low = run(*arguments, '--ecutrho', 10)
    assert low.exit_code == 0 and 'warning: a cutoff of 10 Ry for the density is low for Si' in low.output
    assert 'low for Si' in json.loads((tmp_path / 'summary.json').read_text())['warnings'][0]


def test_scalar_pseudopotentials_need_their_version(study, tmp_path):
    done = h0(study, 'SR', tmp_path / 'h0.h5', '--spin-orbit')
    assert done.exit_code == 2 and 'the pseudopotential of Si is scalar-relativistic' in done.stderr
    done = h0(study, 'SR', tmp_path / 'h0.h5', '--spin-orbit', '--spin-orbit-pseudos', study / 'FR')
    assert done.exit_code == 2 and 'core correction' in done.stderr
    assert not any(tmp_path.iterdir())
