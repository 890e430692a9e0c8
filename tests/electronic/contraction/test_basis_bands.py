"""Bands of a crystal in plane waves and in orbitals: variational, in one potential, with a figure."""

import numpy as np
import pytest
from ase.build import bulk
from matplotlib.image import imread

from aiida_hamlr.electronic.contraction import reference_bands
from aiida_hamlr.electronic.contraction.basis_bands import bands_of_basis, crystal_of_basis
from aiida_hamlr.electronic.contraction.optimisation import contract_bases
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential
from aiida_hamlr.plotting.basis import plot_basis


@pytest.fixture(scope='module')
def silicon():
    return {'Si': make_pseudopotential('Si')}


@pytest.fixture(scope='module')
def sets(silicon):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference_bands, 'KPOINTS', reference_bands.KPOINTS[[0, 1]])
        basis = contract_bases(silicon, 'szp', structures=[bulk('Si', a=5.4)], ecutwfc=12.0)
    return bands_of_basis(crystal_of_basis(basis), silicon, basis, ecutwfc=12.0, spacing=0.4)


def test_orbitals_lie_above_plane_waves_and_contracted_ones_closer(sets):
    exact, plain, contracted = (sets[name].eigenvalues for name in ('plane waves', 'plain', 'contracted'))
    assert (plain - exact).min() > -1e-6 and (contracted - exact).min() > -1e-6
    assert (contracted - exact)[..., :8].mean() < 0.7 * (plain - exact)[..., :8].mean()


def test_all_sets_have_the_band_edges_of_the_plane_waves(sets):
    assert len({bands.attributes.vbm for bands in sets.values()}) == 1
    bands = sets['plane waves']
    assert bands.attributes.vbm == pytest.approx(bands.eigenvalues[0, :, 3].max())
    assert bands.attributes.formula == 'Si2'


def test_contracted_orbitals_remember_their_crystal(silicon):
    structure = {'symbols': 'Si2', 'cell': np.eye(3).tolist(), 'positions': [[0, 0, 0], [0.5, 0.5, 0.5]], 'pbc': True}
    plain = generate_basis(silicon['Si'], 'sz')
    assert crystal_of_basis(Basis({'Si': plain})).get_volume() > 20
    plain.metadata['structures'] = [structure]
    assert crystal_of_basis(Basis({'Si': plain})).get_volume() == pytest.approx(1)


def test_metal_is_filled_up_to_its_fermi_level():
    pseudos = {'Al': make_pseudopotential('Al')}
    basis = Basis({'Al': generate_basis(pseudos['Al'], 'sz')})
    bands = bands_of_basis(crystal_of_basis(basis), pseudos, basis, ecutwfc=12.0, spacing=0.4)['plane waves']
    assert bands.attributes.gap == 0.0
    below = np.count_nonzero(bands.eigenvalues <= bands.attributes.fermi_level)
    assert below == round(1.5 * len(bands.kpoints))


def test_figure_shows_every_set(sets, tmp_path):
    plot_basis(sets, tmp_path / 'bands.png')
    pixels = np.unique(np.round(255 * imread(tmp_path / 'bands.png')[..., :3]).reshape(-1, 3).astype(int), axis=0)
    assert {(0xD5, 0x5E, 0x00), (0, 0, 0)} <= {tuple(pixel) for pixel in pixels.tolist()}
