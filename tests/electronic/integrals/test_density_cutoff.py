"""Cutoff of the density that orbitals and pseudopotentials need, against what moving the atoms does to the levels."""

import numpy as np
import pytest
from ase import Atoms
from scipy import linalg

from aiida_hamlr.electronic.bands.shifted import ShiftedMatrices
from aiida_hamlr.electronic.integrals.density_cutoff import cutoff_error, describe_low_cutoff, sufficient_cutoff
from aiida_hamlr.electronic.integrals.h0 import compute_h0
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential


@pytest.fixture(scope='module')
def pseudos():
    return {element: make_pseudopotential(element) for element in ('O', 'Al')}


@pytest.fixture(scope='module')
def basis(pseudos):
    return Basis({element: generate_basis(pseudo, 'sz', 4.0) for element, pseudo in pseudos.items()})


def spread(basis, pseudos, ecutrho):
    """Largest change of a level of an oxygen atom between four places in its box, eV."""
    levels = []
    for shift in (0.0, 0.04, 0.08, 0.12):
        atom = Atoms('O', [[shift, shift, shift]], cell=[6.0, 6.0, 6.0], pbc=True)
        (sector,) = ShiftedMatrices(compute_h0(atom, basis, pseudos, ecutrho), matrix='h0').sectors
        levels.append(linalg.eigvalsh(sector.hamiltonian.toarray(), sector.overlap.toarray()))
    return np.ptp(levels, axis=0).max()


def test_estimate_has_the_magnitude_of_the_error(basis, pseudos):
    for ecutrho in (100.0, 160.0):
        ratio = spread(basis, pseudos, ecutrho) / cutoff_error(basis['O'], pseudos['O'], ecutrho)
        assert 0.2 < ratio < 5.0


def test_sufficient_cutoff_is_sufficient(basis, pseudos):
    cutoff = sufficient_cutoff(basis.restricted(['O']), pseudos)
    assert 240.0 < cutoff < 480.0
    assert spread(basis, pseudos, cutoff) < 2e-3
    assert sufficient_cutoff(basis.restricted(['Al']), pseudos) == 160.0


def test_low_cutoff_is_described(basis, pseudos):
    (text,) = describe_low_cutoff(basis, pseudos, 100.0)
    assert 'a cutoff of 100 Ry for the density is low for O' in text
    assert f'{sufficient_cutoff(basis, pseudos):g} Ry are enough' in text
    assert describe_low_cutoff(basis.restricted(['Al']), pseudos, 100.0) == []
