"""Sizes, shells and identity of generated orbitals."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aiida_hamlr.electronic.orbitals.basis import SpeciesBasis
from aiida_hamlr.electronic.orbitals.generation import SIZES, generate_basis
from aiida_hamlr.electronic.pseudo.atom import PseudoAtom, SoftConfinement
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential

EXAMPLES = Path('/usr/share/doc/quantum-espresso/examples')


@pytest.fixture(scope='module')
def silicon():
    return make_pseudopotential('Si')


@pytest.mark.parametrize(
    ('size', 'momenta'),
    [
        ('sz', (0, 1)),
        ('szp', (0, 1, 2)),
        ('dzp', (0, 0, 1, 1, 2)),
        ('dzdp', (0, 0, 1, 1, 2, 2)),
        ('tzp', (0, 0, 0, 1, 1, 1, 2)),
        ('tzdp', (0, 0, 0, 1, 1, 1, 2, 2)),
    ],
)
def test_sizes(silicon, size, momenta):
    assert size in SIZES
    assert generate_basis(silicon, size).angular_momenta == momenta


def test_orbitals_are_the_solutions_of_the_confined_atom(silicon):
    basis = generate_basis(silicon, 'dzp', 7.5)
    atom = PseudoAtom(silicon)
    for l in (0, 1, 2):
        shells = [shell for shell in basis.shells if shell.angular_momentum == l]
        _, radial = atom.solve(l, 7.5, len(shells), SoftConfinement())
        np.testing.assert_array_equal([shell.radial for shell in shells], radial)
    r = basis.step * np.arange(len(basis.shells[0].radial))
    assert r[-1] == pytest.approx(7.5) and basis.cutoff_radius == 7.5
    for shell in basis.shells:
        assert (shell.radial**2 * r**2).sum() * basis.step == pytest.approx(1, abs=1e-6)
        assert shell.radial[-1] == pytest.approx(0, abs=1e-12)
    assert sum(shell.occupation for shell in basis.shells) == 4.0
    assert [shell.label for shell in basis.shells][:2] == ['3s', '3s second zeta']
    assert basis.shells[-1].label == 'd polarisation'


def test_hydrogen_is_polarised_with_p_and_default_radii():
    hydrogen = generate_basis(make_pseudopotential('H'))
    assert hydrogen.angular_momenta == (0, 0, 1) and hydrogen.cutoff_radius == 8.0
    assert generate_basis(make_pseudopotential('N'), 'sz').cutoff_radius == 7.0


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason='no examples of Quantum ESPRESSO')
def test_semicore_shells_get_one_function_and_leave_their_momentum_to_polarisation():
    text = gzip.decompress(next(EXAMPLES.rglob('Ag_ONCV_PBE-1.0.upf.gz')).read_bytes()).decode(errors='replace')
    basis = generate_basis(Pseudopotential.from_text(text))
    labels = ['4s', '5s', '5s second zeta', '4p', 'p polarisation', '4d', '4d second zeta']
    assert [shell.label for shell in basis.shells] == labels
    assert basis.metadata['atomic_levels_eV']['4p'] < -30 < basis.metadata['atomic_levels_eV']['4d']


def test_identity_is_reproducible_and_the_file_keeps_everything(silicon, tmp_path):
    basis = generate_basis(silicon)
    assert generate_basis(Pseudopotential.from_text(silicon.text)).content_hash == basis.content_hash
    assert generate_basis(silicon, 'tzp').content_hash != basis.content_hash
    basis.write(tmp_path / 'Si.basis.h5')
    read = SpeciesBasis.read(tmp_path / 'Si.basis.h5')
    assert read.content_hash == basis.content_hash
    assert read.metadata == basis.metadata == json.loads(json.dumps(basis.metadata))
    assert basis.metadata['pseudopotential_sha256'] == silicon.content_hash
    assert basis.metadata['functional'] == 'lda_pw'


def test_bad_requests_are_refused(silicon):
    with pytest.raises(ValueError, match="basis size 'qzp' is not known; known are sz, szp"):
        generate_basis(silicon, 'qzp')
    with pytest.raises(ValueError, match='cutoff radius 8.005 bohr'):
        generate_basis(silicon, 'dzp', 8.005)


def test_pseudopotential_with_another_level_than_its_file_gives_is_refused(silicon):
    shifted = [replace(w, energy=w.energy + (2.0 if w.angular_momentum == 0 else 0.0)) for w in silicon.wavefunctions]
    with pytest.raises(ValueError, match=r'pseudopotential of Si .* its free atom has 3s at .* ghost state'):
        generate_basis(replace(silicon, wavefunctions=tuple(shifted)))
