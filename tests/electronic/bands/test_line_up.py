"""Band offsets from on-site levels, where the answer is known."""

import numpy as np
import pytest

from aiida_hamlr.electronic.bands.calculation import PropertyOptions, compute_properties
from aiida_hamlr.electronic.bands.line_up import band_offset

STEP = 0.4


@pytest.fixture
def crystal(make_hamiltonian, zincblende):
    hamiltonian = make_hamiltonian(zincblende(cubic=True))
    scalars = compute_properties(hamiltonian, ['gap'], PropertyOptions(kpoints=(4, 4, 4))).scalars
    hamiltonian.attributes.vbm, hamiltonian.attributes.cbm = scalars['vbm_eV'], scalars['cbm_eV']
    return hamiltonian


@pytest.fixture
def stepped(make_hamiltonian, zincblende):
    """A crystal of four cells in whose upper half a potential raises all orbitals, and another zero of energy."""
    hamiltonian = make_hamiltonian(zincblende(cubic=True) * (1, 1, 4))
    pattern = hamiltonian.pattern
    heights = hamiltonian.atoms.get_scaled_positions()[:, 2]
    raised = (STEP * (heights > 0.49) + 3.0)[np.repeat(np.arange(len(heights)), pattern.n_orbitals)]
    rows, columns = pattern.orbital_indices
    hamiltonian.matrices['hamiltonian'] = (
        hamiltonian.hamiltonian + 0.5 * (raised[rows] + raised[columns]) * hamiltonian.overlap
    )
    return hamiltonian


def test_offset_of_one_crystal_is_the_step_of_the_potential(stepped, crystal):
    length = stepped.atoms.cell.lengths()[2]
    found = band_offset(stepped, [crystal, crystal], [(0.1 * length, 0.4 * length), (0.6 * length, 0.9 * length)])
    assert (found.valence, found.conduction) == pytest.approx((STEP, STEP), abs=1e-9)
    assert max(found.spreads) < 1e-9
    across = band_offset(stepped, [crystal, crystal], [(0.0, 0.4 * length), (0.3 * length, 0.7 * length)])
    assert across.spreads[1] > 0.1


def test_edges_of_the_crystals_count(stepped, crystal, make_hamiltonian, zincblende):
    """The second crystal has its valence band 0.3 eV higher above the same levels."""
    other = make_hamiltonian(zincblende(cubic=True))
    other.attributes.vbm, other.attributes.cbm = crystal.attributes.vbm + 0.3, crystal.attributes.cbm - 0.2
    length = stepped.atoms.cell.lengths()[2]
    found = band_offset(stepped, [crystal, other], [(0.1 * length, 0.4 * length), (0.6 * length, 0.9 * length)])
    assert (found.valence, found.conduction) == pytest.approx((STEP + 0.3, STEP - 0.2), abs=1e-9)


def test_what_is_missing_is_named(stepped, crystal, make_hamiltonian, zincblende):
    unknown = make_hamiltonian(zincblende(cubic=True))
    with pytest.raises(ValueError, match='Al4As4: no band edges'):
        band_offset(stepped, [unknown, crystal], [(0, 5), (12, 17)])
    with pytest.raises(ValueError, match='no layer between 100 and 110 Å'):
        band_offset(stepped, [crystal, crystal], [(0, 5), (100, 110)])
