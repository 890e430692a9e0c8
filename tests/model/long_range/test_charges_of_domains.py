"""What explains the levels of atoms with the same surroundings at different places of a polar crystal.

The levels are those of a pw.x run of two AlAs domains, see the fixture; all atoms of an element that are further than
7 Å from the walls of their domain have the same surroundings. The same run gives population charges.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from aiida_hamlr.model.long_range.ewald import DirectSum

#: Z*/eps along the domains, e, of ph.x for a cell of four atoms on 2 x 2 x 12 shifted k-points.
PHONON_CHARGE = 0.2540

REACH = 7.0


class Domains:
    """Positions, levels and charges of the fixture."""

    def __init__(self):
        content = json.loads((Path(__file__).parents[1] / 'fixtures' / 'domains.json').read_text())
        atoms, cell = content['atoms'], np.array(content['cell'])
        positions = np.array([atom['position'] for atom in atoms])
        self.cations = np.array([atom['symbol'] == 'Al' for atom in atoms])
        self.level, self.mulliken, self.hirshfeld, self.dipole = (
            np.array([atom[key] for atom in atoms])
            for key in ('level_eV', 'mulliken_charge', 'hirshfeld_charge', 'hirshfeld_dipole')
        )
        self._operator = DirectSum(torch.tensor(cell), torch.tensor(positions), 1.5)
        # There is one atom in a plane, which is a fraction of the cell; walls are at 0 and in the middle.
        plane = np.round(positions[:, 2] / cell[2, 2] * len(atoms)) / len(atoms)
        to_wall = np.abs((2 * plane + 0.5) % 1.0 - 0.5) * cell[2, 2] / 2
        inside = [half & (to_wall > REACH) for half in (plane < 0.5, plane >= 0.5)]
        self._alike = [half & element for half in inside for element in (self.cations, ~self.cations)]

    def potential(self, charges, dipoles=None):
        """(N,) potential of charges and dipoles, V."""
        dipoles = None if dipoles is None else torch.tensor(dipoles)
        return self._operator(torch.tensor(charges - charges.mean()), dipoles)[0].numpy()

    def deviations(self, values):
        """Of atoms with the same surroundings from their mean."""
        return np.concatenate([values[alike] - values[alike].mean() for alike in self._alike])

    def spread(self, potential):
        """Of what the potential (V) leaves of the levels, meV, root mean square."""
        return 1e3 * np.sqrt(np.mean(self.deviations(self.level + potential) ** 2))


@pytest.fixture(scope='module')
def domains():
    return Domains()


def test_one_screened_charge_explains_the_levels(domains):
    """And it is Z*/eps of density functional perturbation theory."""
    unit = domains.potential(np.where(domains.cations, 1.0, -1.0))
    level, potential = domains.deviations(domains.level), domains.deviations(unit)
    charge = -(potential @ level) / (potential @ potential)
    assert charge == pytest.approx(PHONON_CHARGE, rel=0.03)
    without = domains.spread(np.zeros_like(unit))
    assert without > 50
    assert domains.spread(charge * unit) < 0.01 * without


def test_population_charges_do_not(domains):
    without = domains.spread(np.zeros_like(domains.level))
    assert domains.spread(domains.potential(domains.mulliken)) > 0.8 * without
    assert domains.spread(domains.potential(domains.hirshfeld)) > 0.4 * without


def test_charges_and_dipoles_of_the_whole_density_do(domains):
    """No screening is to be learned: the density of the electrons has it."""
    without = domains.spread(np.zeros_like(domains.level))
    assert domains.spread(domains.potential(domains.hirshfeld, domains.dipole)) < 0.01 * without
