"""Functions for both j: the radial equations of the file, and bands of spinors against plane waves."""

import numpy as np
import pytest
from ase.build import bulk
from qe_fixtures import debian_pseudo

from aiida_hamlr.electronic.contraction import reference_bands
from aiida_hamlr.electronic.contraction.reference_bands import ReferenceBands
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.orbitals.total_momenta import _of_one_j, check_fully_relativistic, difference_of_j
from aiida_hamlr.electronic.pseudo.atom import PseudoAtom, SoftConfinement


@pytest.fixture(scope='module')
def lead():
    return debian_pseudo('pb_s.UPF')


@pytest.mark.parametrize('l', [1, 2])
def test_pseudopotential_of_one_j(lead, l):
    """Scalar and spin-orbit part together, ``w D + <L.sigma> s D / (2 l + 1) = D`` of the projectors of that j only."""
    for sign in (1, -1):
        alone = _of_one_j(lead, l, sign)
        own = [p.angular_momentum == l and p.total_angular_momentum == l + sign / 2 for p in lead.projectors]
        angular = l if sign > 0 else -l - 1
        expected = (lead.dij + angular * lead.spin_orbit_dij)[np.ix_(own, own)]
        assert np.abs(expected).max() > 0.01
        np.testing.assert_allclose(alone.dij[np.ix_(own, own)], expected, atol=1e-12)
        assert not alone.dij[~np.array(own)].any()


def test_levels_of_the_free_atom_are_those_of_the_file(lead):
    """6p1/2 lies below 6p3/2, by the splitting that lead has (1.5 eV in LDA)."""
    upper, lower = (PseudoAtom(_of_one_j(lead, 1, sign)).solve(1)[0][0] for sign in (1, -1))
    scalar = PseudoAtom(lead).solve(1)[0][0]
    assert upper - lower == pytest.approx(1.5, abs=0.3)
    assert lower < scalar < upper


def test_shells_are_orthonormal_and_named(lead):
    basis = generate_basis(lead, 'dzp', 7.0, spin_orbit=True)
    plain = generate_basis(lead, 'dzp', 7.0)
    added = [shell for shell in basis.shells if shell.label not in {other.label for other in plain.shells}]
    assert [(shell.angular_momentum, shell.label) for shell in added] == [
        (1, '6p difference of j'),
        (2, '5d difference of j'),
    ]
    assert basis.metadata['spin_orbit'] is True and 'spin_orbit' not in plain.metadata
    r = basis.step * np.arange(len(added[0].radial))
    for l in (1, 2):
        table = np.array([shell.radial for shell in basis.shells if shell.angular_momentum == l])
        np.testing.assert_allclose((table * r**2) @ table.T * basis.step, np.eye(len(table)), atol=1e-6)


def test_spinors_are_as_exact_as_bands_without_coupling(lead, monkeypatch):
    """Occupied bands and 6p of fcc lead against plane waves, in meV: the error that the coupling adds vanishes."""
    monkeypatch.setattr(reference_bands, 'KPOINTS', reference_bands.KPOINTS[[1]])
    crystal, pseudos, errors = bulk('Pb', a=4.95), {'Pb': lead}, {}
    for orbitals, coupling in ((False, False), (False, True), (True, True)):
        basis = Basis({'Pb': generate_basis(lead, 'dzp', 7.0, spin_orbit=orbitals)})
        bands = ReferenceBands(crystal, basis, pseudos, 20.0, basis['Pb'].n_orbitals, coupling)
        one = {('Pb', l): np.eye(basis['Pb'].angular_momenta.count(l)) for l in (0, 1, 2)}
        # 5d and 6s: six bands, or twelve of spinors
        errors[orbitals, coupling] = 13605.7 * bands.deviations(one)[:, : 12 if coupling else 6].mean()
    assert errors[False, True] > errors[False, False] + 2
    assert errors[True, True] < errors[False, False] + 0.5


def test_scalar_pseudopotentials_have_none(spin_orbit_pseudos):
    aluminium, arsenic = spin_orbit_pseudos['Al'], spin_orbit_pseudos['As']
    for l in (0, 1):
        assert difference_of_j(aluminium, l, 7.0, SoftConfinement()) is None
    assert difference_of_j(arsenic, 0, 7.0, SoftConfinement()) is None
    assert generate_basis(aluminium, 'sz', spin_orbit=True).content_hash == generate_basis(aluminium, 'sz').content_hash
    check_fully_relativistic(spin_orbit_pseudos)
    with pytest.raises(ValueError, match='no pseudopotential of Al is fully relativistic'):
        check_fully_relativistic({'Al': aluminium})
