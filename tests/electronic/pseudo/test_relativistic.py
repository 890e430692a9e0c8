"""Fully relativistic pseudopotentials: both parts together are the projectors of the file."""

from dataclasses import replace

import numpy as np
import pytest
from qe_fixtures import debian_pseudo
from scipy.special import sph_harm_y

from aiida_hamlr.electronic.integrals.harmonics import real_harmonics, rotation_generators
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.pseudo.relativistic import TotalMomenta, separate_spin_orbit
from aiida_hamlr.electronic.pseudo.siblings import check_sibling, fully_relativistic
from aiida_hamlr.electronic.pseudo.upf import parse_upf
from aiida_hamlr.electronic.pseudo.upf_content import Projector, PseudoWavefunction

PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])

#: Two projectors for every l and j up to l = 3, in the order of the files.
SHELLS = [(0, 0.5)] * 2 + [(l, l + shift) for l in (1, 2, 3) for _ in range(2) for shift in (-0.5, 0.5)]


def spin_angle_projector(l: int, j: float) -> np.ndarray:
    """(2 (2l+1), 2 (2l+1)) projector on the states l, j, from Clebsch-Gordan coefficients and complex harmonics."""
    nodes, weights = np.polynomial.legendre.leggauss(20)
    azimuth = np.arange(40) * 2 * np.pi / 40
    height, angle = np.meshgrid(nodes, azimuth, indexing='ij')
    radius = np.sqrt(1 - height**2)
    real = real_harmonics(l, np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=-1))
    overlaps = np.array(
        [
            np.einsum('tpm,tp,t->m', real, sph_harm_y(l, m, np.arccos(height), angle), weights) * 2 * np.pi / 40
            for m in range(-l, l + 1)
        ]
    ).T
    size = 2 * l + 1
    projector = np.zeros((2 * size, 2 * size), dtype=complex)
    for m_j in np.arange(-j, j + 1):
        state = np.zeros((2, size), dtype=complex)
        for spin, sign in enumerate((1, -1)):
            m = round(m_j - sign / 2)
            if abs(m) <= l:
                weight = (l + 0.5 + sign * m_j) / size if j > l else (l + 0.5 - sign * m_j) / size
                state[spin] += (1 if j > l else -sign) * np.sqrt(weight) * overlaps[:, m + l]
        projector += np.outer(state.ravel(), state.ravel().conj())
    return projector


def content_with(shells, waves=()):
    """Numbers of a file with unit projectors for these l and j."""
    scalar = parse_upf(debian_pseudo('Si.pz-vbc.UPF').text)
    values = scalar.projectors[0].values
    return replace(
        scalar,
        projectors=tuple(Projector(l, values, 100) for l, _ in shells),
        dij=np.diag(1.0 + np.arange(len(shells))),
        wavefunctions=tuple(waves),
    )


def test_both_parts_make_the_projector_on_every_j():
    """D P_lj from the scalar and the spin-orbit part, against Clebsch-Gordan coefficients."""
    separated = separate_spin_orbit(content_with(SHELLS), TotalMomenta(tuple(SHELLS), ()), 'test')
    for index, (l, j) in enumerate(SHELLS):
        spin_orbit = np.einsum('ast,amn->smtn', PAULI, -1j * rotation_generators(l)).reshape(4 * l + 2, 4 * l + 2)
        found = separated.dij[index, index] * np.eye(4 * l + 2) + separated.spin_orbit_dij[index, index] * spin_orbit
        np.testing.assert_allclose(found, (1 + index) * spin_angle_projector(l, j), atol=1e-12)
        assert separated.projectors[index].total_angular_momentum == j


def test_equal_potentials_of_both_j_have_no_spin_orbit_part():
    """With the same D for j = l - 1/2 and j = l + 1/2 the spin-orbit part vanishes and the scalar part is D."""
    shells = [(1, 0.5), (1, 1.5)]
    content = replace(content_with(shells), dij=0.7 * np.eye(2))
    separated = separate_spin_orbit(content, TotalMomenta(tuple(shells), ()), 'test')
    assert separated.spin_orbit_dij.trace() == 0.0
    assert separated.dij.trace() == pytest.approx(0.7)


def test_wave_functions_of_both_j_become_one():
    """Mean over the six states of a p shell: two of j = 1/2 and four of j = 3/2; occupations add."""
    r = np.ones(4)
    waves = [PseudoWavefunction('4P', 1, 2.0, 1.0 * r, -3.0), PseudoWavefunction('4P', 1, 1.0, 4.0 * r, -1.5)]
    momenta = TotalMomenta(((0, 0.5),), ((1, 1.5), (1, 0.5)))
    (merged,) = separate_spin_orbit(content_with([(0, 0.5)], waves), momenta, 'test').wavefunctions
    assert (merged.label, merged.angular_momentum, merged.occupation) == ('4P', 1, 3.0)
    np.testing.assert_allclose(merged.values, 2.0)
    assert merged.energy == pytest.approx(-2.5)


@pytest.mark.parametrize(
    ('momenta', 'dij', 'message'),
    [
        ([(1, 0.5), (2, 1.5)], None, 'l = 1 in one section and 2'),
        ([(1, 0.5), (1, 1.0)], None, 'j = 1 is not possible for l = 1'),
        ([(1, 0.5)], None, 'j is not given for every projector'),
        ([(1, 0.5), (1, 1.5)], np.ones((2, 2)), 'couples projectors of different j'),
    ],
)
def test_what_does_not_fit_is_refused(momenta, dij, message):
    content = content_with([(1, 0.5), (1, 1.5)])
    content = content if dij is None else replace(content, dij=dij)
    with pytest.raises(ValueError, match=message):
        separate_spin_orbit(content, TotalMomenta(tuple(momenta), ()), 'test')


def test_files_of_both_versions():
    """j is found by the index of the section (version 2) and by the line (version 1)."""
    lead, silicon = debian_pseudo('pb_s.UPF'), debian_pseudo('Si.rel-pbe-rrkj.UPF')
    assert [(p.angular_momentum, p.total_angular_momentum) for p in lead.projectors] == [
        (2, 1.5),
        (2, 2.5),
        (1, 0.5),
        (1, 1.5),
    ]
    assert [(w.label, w.occupation) for w in lead.wavefunctions] == [('5D', 10.0), ('6P', 2.0), ('6S', 2.0)]
    assert [p.total_angular_momentum for p in silicon.projectors] == [0.5, 0.5, 1.5]
    assert [(w.label, w.occupation) for w in silicon.wavefunctions] == [('3S', 2.0), ('3P', 2.0)]
    assert lead.has_spin_orbit and silicon.has_spin_orbit


def test_siblings():
    """A fully relativistic file serves itself; scalar ones need one that belongs to them."""
    scalar, full, other = (debian_pseudo(name) for name in ('Si.pbe-rrkj.UPF', 'Si.rel-pbe-rrkj.UPF', 'Si_r.upf'))
    assert fully_relativistic(['Si'], {'Si': full}) == {'Si': full}
    with pytest.raises(ValueError, match='Si is scalar-relativistic and has no spin-orbit part'):
        fully_relativistic(['Si'], {'Si': scalar})
    with pytest.raises(ValueError, match='give the fully relativistic version'):
        check_sibling(scalar, scalar, 'Si')
    with pytest.raises(ValueError, match='its core correction is True'):
        check_sibling(scalar, other, 'Si')
    plain = replace_spin_orbit(full)
    check_sibling(plain, full, 'Si')


def replace_spin_orbit(pseudo: Pseudopotential) -> Pseudopotential:
    """The scalar part alone."""
    return replace(pseudo, spin_orbit_dij=None)
