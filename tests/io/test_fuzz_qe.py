"""Damaged files of Quantum ESPRESSO: each is refused with a ValueError that names it, or reads as sound numbers.

None of these files has a checksum. Damage to their structure is always noticed. Of a damaged digit, what stands twice
in the files is noticed when they are read: structure, cells, cutoffs, occupations, and every coefficient of a density,
whose partner at -G is its conjugate. One value of a potential stands once: what it may do to a Hamiltonian is bounded
by the comparison with neutral atoms (100 eV) and with the bands of the run. Where the density of the run is given as
well, anything above 5 meV is noticed.
"""

import numpy as np
import pytest
from fuzz_formats import write_hdf5_density
from fuzzing import damage, fuzz, read_or_refuse
from hypothesis import given
from hypothesis import strategies as st

from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.reference.density import check_hartree_energy, check_potential
from aiida_hamlr.electronic.reference.reconstruction import ReconstructionOptions, reconstruct
from aiida_hamlr.electronic.reference.verification import IMPLAUSIBLE_ERROR
from aiida_hamlr.electronic.units import RYDBERG
from aiida_hamlr.io.qe import (
    check_same_structure,
    check_supported,
    read_charge_density,
    read_density,
    read_filplot,
    read_potential,
    read_scf_xml,
)

pytestmark = pytest.mark.qe

#: A stretch of 200 bytes touches at most as many numbers of a filplot.
TOUCHED = 14


@pytest.fixture(scope='module')
def run(rattled_alas_run):
    return rattled_alas_run.read()


@pytest.fixture(scope='module')
def filplots(rattled_alas_run):
    """Bytes and values of the potential (Ry) and the density."""
    files = rattled_alas_run.potential, rattled_alas_run.density
    return [(path.read_bytes(), read_filplot(path).values) for path in files]


@fuzz(240)
@given(damage=damage(), which=st.integers(0, 1))
def test_filplots(tmp_path, run, filplots, damage, which):
    data, expected = filplots[which]
    reader = (read_potential, read_density)[which]
    values = read_or_refuse(tmp_path / 'damaged.filplot', damage(data), lambda path: reader(path, run.atoms))
    if values is not None and values.shape == run.fft_grid:
        values = values / (RYDBERG, 1.0)[which]
        assert np.isfinite(values).all()
        assert np.count_nonzero(np.abs(values - expected) > 1e-9 * np.abs(expected)) <= TOUCHED


@fuzz(200)
@given(damage=damage())
def test_xml_files(tmp_path, rattled_alas_run, run, damage):
    """Whatever is read is of the same structure, cutoff and electrons."""

    def read(path):
        found = read_scf_xml(path)
        check_supported(found)
        return found

    found = read_or_refuse(tmp_path / 'damaged.xml', damage(rattled_alas_run.xml.read_bytes()), read)
    if found is not None:
        check_same_structure(run.atoms, found.atoms, 1e-5)
        assert (found.ecutwfc, found.ecutrho) == pytest.approx((run.ecutwfc, run.ecutrho), rel=1e-4)
        assert found.n_electrons == pytest.approx(8.0, abs=1e-3)
        assert found.eigenvalues.shape == found.occupations.shape == (len(found.kpoints), run.eigenvalues.shape[1])
        assert np.isfinite(found.eigenvalues).all() and np.isfinite(found.kpoints).all()


@fuzz(160)
@given(damage=damage())
def test_binary_densities(tmp_path, rattled_alas_run, run, damage):
    """Every coefficient stands twice, at G and -G: damage is noticed, or it is below the digits that matter."""
    whole = rattled_alas_run.charge_density
    expected = read_charge_density(whole, run.fft_grid, run.atoms)
    found = read_or_refuse(
        tmp_path / 'charge-density.dat',
        damage(whole.read_bytes()),
        lambda path: read_charge_density(path, run.fft_grid, run.atoms),
    )
    # The coefficient at G = 0, the number of electrons, has no partner.
    assert found is None or np.abs((found - found.mean()) - (expected - expected.mean())).max() < 1e-9


@pytest.fixture(scope='module')
def hdf5_density(rattled_alas_run, tmp_path_factory):
    path = tmp_path_factory.mktemp('hdf5') / 'charge-density.hdf5'
    write_hdf5_density(rattled_alas_run.charge_density, path)
    return path.read_bytes()


@fuzz(160)
@given(damage=damage())
def test_hdf5_densities(tmp_path, rattled_alas_run, run, hdf5_density, damage):
    expected = read_charge_density(rattled_alas_run.charge_density, run.fft_grid, run.atoms)
    found = read_or_refuse(
        tmp_path / 'charge-density.hdf5',
        damage(hdf5_density),
        lambda path: read_charge_density(path, run.fft_grid, run.atoms),
    )
    assert found is None or np.abs((found - found.mean()) - (expected - expected.mean())).max() < 1e-9


@pytest.fixture(scope='module')
def rebuild(rattled_alas_run, run, upf_pseudos, plain_basis):
    """Function: the Hamiltonian in a small basis from a potential, eV."""
    basis = plain_basis(('Al', 'As'), 'sz')
    tables = TwoCentreTables(basis, {element: upf_pseudos[element] for element in basis})

    def make(potential):
        options = ReconstructionOptions(tables=tables, source='v.filplot')
        return reconstruct(run.atoms, potential, basis, upf_pseudos, run.ecutrho, (1, 1, 1), run=run, options=options)

    return make


@fuzz(8)
@given(place=st.tuples(*[st.integers(0, 23)] * 3), change=st.floats(-4, 8), sign=st.sampled_from([-1, 1]))
def test_one_damaged_value_of_a_potential(rattled_alas_run, run, upf_pseudos, rebuild, place, change, sign):
    """With the density it is refused above 5 meV; without, if it is far from neutral atoms or spoils the bands."""
    potential = read_potential(rattled_alas_run.potential, run.atoms)
    density = read_charge_density(rattled_alas_run.charge_density, run.fft_grid, run.atoms)
    error = sign * 10.0**change
    potential[place] += error
    if abs(error) > 6e-3 and density[place] > 1e-4:
        with pytest.raises(ValueError, match='not that of the density'):
            check_potential(run.atoms, potential, density, upf_pseudos, run.ecutrho)
    try:
        hamiltonian = rebuild(potential)
    except ValueError as refusal:
        assert str(refusal).startswith('v.filplot: ')
        return
    assert abs(error) < 110
    found = eigenvalues(hamiltonian, run.kpoints, n_bands=4) - hamiltonian.attributes.gauge_shift
    assert np.abs(found - run.eigenvalues[:, :4]).mean() < IMPLAUSIBLE_ERROR


def test_displaced_potential_and_scaled_density_are_refused(run, rattled_alas_run, rebuild):
    """Headers cannot tell."""
    potential = read_potential(rattled_alas_run.potential, run.atoms)
    with pytest.raises(ValueError, match=r'v\.filplot: .* damaged'):
        rebuild(np.roll(potential, 12, axis=0))
    density = read_density(rattled_alas_run.density, run.atoms)
    check_hartree_energy(run.atoms, density, run.hartree_energy)
    with pytest.raises(ValueError, match='Hartree energy'):
        check_hartree_energy(run.atoms, 0.999 * density, run.hartree_energy)
