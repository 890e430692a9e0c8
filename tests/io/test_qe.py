"""Readers of Quantum ESPRESSO's files, on real runs and on damaged copies of them."""

import dataclasses
import re

import h5py
import numpy as np
import pytest
from ase.build import bulk
from qe_fixtures import pw_input, run_executable
from scipy.io import FortranFile

from aiida_hamlr.electronic.integrals.fft_grid import fft_grid, symmetry_factors
from aiida_hamlr.electronic.units import BOHR
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


def test_run_is_read_in_ev_and_angstrom(rattled_alas_run):
    run = rattled_alas_run.read()
    check_supported(run)
    assert run.atoms.get_chemical_symbols() == ['Al', 'As']
    assert (run.n_electrons, run.n_spin, run.total_charge) == (8.0, 1, 0.0)
    assert (run.ecutwfc, run.ecutrho, run.functional) == (pytest.approx(20), pytest.approx(80), 'lda_pz')
    assert run.pseudo_files == {'Al': 'Al.upf', 'As': 'As.upf'}
    assert run.weights.sum() == pytest.approx(1.0)
    assert np.allclose(2 * run.kpoints, np.round(2 * run.kpoints))
    assert run.kpoint_mesh == (2, 2, 2)
    printed = (rattled_alas_run.folder / 'out/aiida.save/data-file-schema.xml').read_text()
    assert f'<creator NAME="PWSCF" VERSION="{run.version}"' in printed
    assert run.eigenvalues.shape == run.occupations.shape == (len(run.kpoints), 8)
    gap = run.eigenvalues[:, 4].min() - run.eigenvalues[:, 3].max()
    assert 0.5 < gap < 3.0


def test_filplot_of_the_density_is_that_of_the_binary_file(rattled_alas_run):
    run = rattled_alas_run.read()
    density = read_density(rattled_alas_run.density, run.atoms)
    assert density.shape == run.fft_grid
    assert np.abs(density - read_charge_density(rattled_alas_run.charge_density, run.fft_grid)).max() < 1e-9
    folder = rattled_alas_run.charge_density.parent
    assert np.abs(density - read_charge_density(folder, run.fft_grid)).max() < 1e-9
    with pytest.raises(ValueError, match='has neither charge-density.dat nor charge-density.hdf5'):
        read_charge_density(rattled_alas_run.folder, run.fft_grid)
    assert density.mean() * run.atoms.get_volume() / BOHR**3 == pytest.approx(8.0, abs=1e-6)


def test_filplot_header(rattled_alas_run):
    grid = read_filplot(rattled_alas_run.potential)
    check_same_structure(rattled_alas_run.read().atoms, grid.atoms)
    assert grid.plot_num == 1
    assert grid.valences == {'Al': 3.0, 'As': 5.0}
    assert (grid.ecutwfc, grid.ecutrho) == (pytest.approx(20), pytest.approx(80))


def test_padded_grid_is_cut_to_the_true_one(rattled_alas_run, tmp_path):
    """Some FFT libraries pad the first dimension."""
    grid = read_filplot(rattled_alas_run.potential)
    n1, n2, n3 = grid.values.shape
    lines = rattled_alas_run.potential.read_text().split('\n')
    lines[1] = f'{n1 + 1} {n2} {n3} {n1} {n2} {n3} 2 2'
    padded = np.concatenate([grid.values, np.full((1, n2, n3), 99.0)])
    path = tmp_path / 'padded.filplot'
    header = '\n'.join(lines[:11])
    path.write_text(header + '\n' + '\n'.join(f'{value:.9E}' for value in padded.ravel(order='F')))
    assert np.array_equal(read_filplot(path).values, grid.values)


def damaged(run, tmp_path, change):
    text = run.potential.read_text()
    path = tmp_path / 'damaged.filplot'
    path.write_text(change(text))
    return path


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda t: t[: len(t) // 2], 'truncated or damaged'),
        (lambda t: t.rstrip()[:-1] + '1 0.5\n', 'truncated or damaged'),
        (lambda t: t[:200], 'not a pp.x filplot'),
        (lambda t: '', 'not a pp.x filplot'),
        (lambda t: t.replace('E+', 'X+', 1), 'damaged'),
        (lambda t: t.rstrip().rsplit(maxsplit=1)[0] + ' NaN\n', 'not finite'),
        (lambda t: t.replace('\n      ', '\n     -', 1), 'not a pp.x filplot'),
        (lambda t: 'GIF89a' + t[1000:], 'not a pp.x filplot'),
    ],
)
def test_damaged_filplots_are_refused_by_name(rattled_alas_run, tmp_path, change, message):
    path = damaged(rattled_alas_run, tmp_path, change)
    with pytest.raises(ValueError, match=message) as caught:
        read_potential(path)
    assert 'damaged.filplot' in str(caught.value)


def test_other_quantities_and_other_structures_are_refused(rattled_alas_run):
    atoms = rattled_alas_run.read().atoms
    with pytest.raises(ValueError, match=r'holds the charge density \(plot_num = 0\).* plot_num = 1'):
        read_potential(rattled_alas_run.density, atoms)
    with pytest.raises(ValueError, match='belongs to another structure: lattice vectors differ'):
        read_potential(rattled_alas_run.potential, bulk('AlAs', 'zincblende', a=5.66))
    moved = atoms.copy()
    moved.positions[1, 2] += 0.01
    with pytest.raises(ValueError, match=r'atom 1 \(from 0\) is 0\.0100. Å from where'):
        read_potential(rattled_alas_run.potential, moved)
    swapped = atoms[[1, 0]]
    with pytest.raises(ValueError, match='atom 0 .* is Al instead of As'):
        read_potential(rattled_alas_run.potential, swapped)
    with pytest.raises(ValueError, match='2 atoms instead of 4'):
        read_potential(rattled_alas_run.potential, atoms * (2, 1, 1))
    wrapped = atoms.copy()
    wrapped.positions[0] += atoms.cell[1] - 2 * atoms.cell[2]
    assert read_potential(rattled_alas_run.potential, wrapped).shape == rattled_alas_run.read().fft_grid
    with pytest.raises(ValueError, match=r'absent\.filplot: cannot be read'):
        read_potential(rattled_alas_run.folder / 'absent.filplot')


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'calculation': 'bands'}, "type 'bands' .* give the scf run"),
        ({'converged': False}, 'did not converge'),
        ({'noncollinear': True}, 'noncollinear'),
        ({'spin_orbit': True}, 'spin-orbit'),
        ({'total_charge': 1.0}, 'charged'),
        ({'ultrasoft': True}, 'ultrasoft'),
        ({'paw': True}, 'PAW'),
        ({'keywords': {'exx_fraction': 0.25}}, 'hybrid functionals are not supported'),
        ({'functional': 'BLYP'}, "functional 'BLYP'"),
        ({'eigenvalues': np.zeros((0,))}, 'no eigenvalues'),
    ],
)
def test_unsupported_runs_are_refused_in_one_line(rattled_alas_run, changes, message):
    run = dataclasses.replace(rattled_alas_run.read(), **changes)
    with pytest.raises(ValueError, match=message) as caught:
        check_supported(run)
    assert str(caught.value).startswith(str(rattled_alas_run.xml))
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('<convergence_achieved>true', '<convergence_achieved>false', 'did not converge'),
        ('<noncolin>false', '<noncolin>true', 'noncollinear'),
        ('<tot_charge>0.0', '<tot_charge>1.0', 'charged'),
        ('<uspp>false', '<uspp>true', 'ultrasoft'),
        ('<paw>false', '<paw>true', 'PAW'),
        ('<functional>PZ</functional>', '<functional>B3LYP</functional><hybrid/>', 'hybrid'),
        ('<nelec>8.0', '<nelec>9.0', 'occupations hold 8 electrons instead of 9'),
    ],
)
def test_what_the_xml_file_says_is_refused(rattled_alas_run, tmp_path, old, new, message):
    path = tmp_path / 'run.xml'
    text = rattled_alas_run.xml.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=message):
        check_supported(read_scf_xml(path))


def test_unconverged_run_is_refused_though_pw_x_ends_well(upf_pseudos, tmp_path):
    atoms = bulk('Si', 'diamond', a=5.43)
    (tmp_path / 'Si.upf').write_text(upf_pseudos['Si'].text)
    text = pw_input(atoms, 10, (1, 1, 1), 4).replace('&electrons', '&electrons electron_maxstep=2')
    assert 'JOB DONE' in run_executable('pw.x', text, tmp_path)
    with pytest.raises(ValueError, match='did not converge'):
        check_supported(read_scf_xml(tmp_path / 'out/aiida.save/data-file-schema.xml'))


@pytest.mark.parametrize(
    ('system', 'message'),
    [
        ("tot_charge=1.0 occupations='smearing' degauss=0.01", 'charged'),
        ("input_dft='PBE0' nqx1=1 nqx2=1 nqx3=1", 'hybrid'),
    ],
)
def test_real_runs_of_unsupported_kinds_are_refused(upf_pseudos, tmp_path, system, message):
    atoms = bulk('Si', 'diamond', a=5.43)
    (tmp_path / 'Si.upf').write_text(upf_pseudos['Si'].text)
    assert 'JOB DONE' in run_executable('pw.x', pw_input(atoms, 8, (1, 1, 1), 6, system), tmp_path)
    with pytest.raises(ValueError, match=message):
        check_supported(read_scf_xml(tmp_path / 'out/aiida.save/data-file-schema.xml'))


def test_bravais_lattices_by_number_are_understood(upf_pseudos, tmp_path):
    """The header of a filplot then holds no lattice vectors."""
    (tmp_path / 'Si.upf').write_text(upf_pseudos['Si'].text)
    for ibrav, parameters in ((2, 'celldm(1)=10.2'), (4, 'celldm(1)=7.3 celldm(3)=1.63')):
        text = pw_input(bulk('Si', 'diamond', a=5.43), 8, (1, 1, 1), 6)
        text = text.replace('ibrav=0', f'ibrav={ibrav} {parameters}').replace(
            '_POSITIONS angstrom', '_POSITIONS crystal'
        )
        lines = text.split('\n')
        start = lines.index('CELL_PARAMETERS angstrom')
        text = '\n'.join(lines[:start] + lines[start + 4 :]).replace('1.357500000000', '0.25')
        assert 'JOB DONE' in run_executable('pw.x', text, tmp_path)
        pp_input = "&inputpp prefix='aiida' outdir='./out' filplot='v.filplot' plot_num=1 /\n"
        assert 'JOB DONE' in run_executable('pp.x', pp_input, tmp_path)
        run = read_scf_xml(tmp_path / 'out/aiida.save/data-file-schema.xml')
        assert read_potential(tmp_path / 'v.filplot', run.atoms).shape == run.fft_grid
        assert fft_grid(run.atoms.cell[:], run.ecutrho, symmetry_factors(run.atoms)) == run.fft_grid


def test_files_that_are_no_runs_are_refused_by_name(rattled_alas_run, tmp_path):
    text = rattled_alas_run.xml.read_text()
    cases = {
        'truncated.xml': (text[: len(text) // 2], 'truncated'),
        'other.xml': ('<svg><output/></svg>', 'not the XML file of a pw.x run'),
        'early.xml': (re.sub('<output>.*</output>', '', text, flags=re.S), 'not the XML file of a pw.x run'),
        'holes.xml': (re.sub('<basis_set>.*</basis_set>', '', text, flags=re.S), 'section output/basis_set is missing'),
        'words.xml': (text.replace('<nelec>', '<nelec>eight '), 'words.xml'),
        'atoms.xml': (text.replace('nat="2"', 'nat="3"'), 'atomic structure is incomplete'),
        'cutoff.xml': (text.replace('<ecutwfc>1.0', '<ecutwfc>2.0', 1), 'ecutwfc of input and output contradict'),
        'moved.xml': (text.replace('index="1">3.9', 'index="1">3.8', 1), 'structures of input and output contradict'),
        'strained.xml': (text.replace('<a1>8.0', '<a1>8.1'), 'cell and reciprocal cell contradict'),
        'type.xml': (text.replace('<calculation>scf', '<calculation>scg'), 'unknown type'),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(ValueError, match=message) as caught:
            read_scf_xml(tmp_path / name)
        assert name in str(caught.value)
    with pytest.raises(ValueError, match=r'absent\.xml: cannot be read'):
        read_scf_xml(tmp_path / 'absent.xml')


def test_truncated_charge_density_is_refused(rattled_alas_run, tmp_path):
    path = tmp_path / 'charge-density.dat'
    whole = rattled_alas_run.charge_density.read_bytes()
    path.write_bytes(whole[:-52] + np.float64(1e-4).tobytes() + whole[-44:])
    with pytest.raises(ValueError, match=r'charge-density\.dat: damaged charge density: it is not real'):
        read_charge_density(path, rattled_alas_run.read().fft_grid)
    path.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match=r'charge-density\.dat: '):
        read_charge_density(path, rattled_alas_run.read().fft_grid)
    with pytest.raises(ValueError, match='does not fit the FFT grid'):
        read_charge_density(rattled_alas_run.charge_density, (8, 8, 8))
    strained = rattled_alas_run.read().atoms
    strained.set_cell(strained.cell[:] * 1.01, scale_atoms=True)
    with pytest.raises(ValueError, match='another structure'):
        read_charge_density(rattled_alas_run.charge_density, rattled_alas_run.read().fft_grid, strained)


def write_hdf5_density(source, path, gamma_only):
    """Write what charge-density.dat holds as Quantum ESPRESSO with HDF5 does; with ``gamma_only`` half of it."""
    with FortranFile(source) as handle:
        _, _, n_spin = handle.read_ints(np.int32)
        reciprocal = handle.read_reals().reshape(3, 3)
        miller = handle.read_ints(np.int32).reshape(-1, 3)
        components = [handle.read_record(np.complex128) for _ in range(n_spin)]
    if gamma_only:
        half = [tuple(vector) >= (0, 0, 0) for vector in miller]
        miller, components = miller[half], [component[half] for component in components]
    with h5py.File(path, 'w') as handle:
        handle.attrs['gamma_only'] = np.bytes_(b'.TRUE.' if gamma_only else b'.FALSE.')
        handle.attrs['ngm_g'] = np.int32(len(miller))
        handle.attrs['nspin'] = np.int32(n_spin)
        handle['MillerIndices'] = miller
        for name, component in zip(('rhotot_g', 'rhodiff_g'), components, strict=False):
            handle[name] = component.view(float)
        for axis in range(3):
            handle['MillerIndices'].attrs[f'bg{axis + 1}'] = reciprocal[axis]


@pytest.mark.parametrize('gamma_only', [False, True])
@pytest.mark.parametrize('name', ['rattled_alas_run', 'antiferromagnet_run'])
def test_hdf5_density_is_that_of_the_binary_file(request, tmp_path, name, gamma_only):
    finished = request.getfixturevalue(name)
    run = finished.read()
    path = tmp_path / 'charge-density.hdf5'
    write_hdf5_density(finished.charge_density, path, gamma_only)
    expected = read_charge_density(finished.charge_density, run.fft_grid)
    assert np.abs(read_charge_density(path, run.fft_grid, run.atoms) - expected).max() < 1e-12


def test_damaged_hdf5_density_is_refused(rattled_alas_run, tmp_path):
    run = rattled_alas_run.read()
    path = tmp_path / 'charge-density.hdf5'
    damages = {
        'rhotot_g': lambda handle: handle.pop('rhotot_g'),
        'gamma_only': lambda handle: handle.attrs.pop('gamma_only'),
        'spin components': lambda handle: handle.attrs.modify('nspin', np.int32(4)),
        'does not fit': lambda handle: handle.attrs.modify('ngm_g', np.int32(5)),
        'not finite': lambda handle: handle['rhotot_g'].write_direct(np.full(handle['rhotot_g'].shape, np.nan)),
    }
    for message, damage in damages.items():
        write_hdf5_density(rattled_alas_run.charge_density, path, False)
        with h5py.File(path, 'r+') as handle:
            damage(handle)
        with pytest.raises(ValueError, match=message) as caught:
            read_charge_density(path, run.fft_grid, run.atoms)
        assert 'charge-density.hdf5: ' in str(caught.value)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match=r'charge-density\.hdf5: '):
        read_charge_density(path, run.fft_grid)


def integral(values, atoms):
    return values.mean(axis=(-3, -2, -1)) * atoms.get_volume() / BOHR**3


def test_spin_density_is_that_of_pp(ferromagnet_run):
    """Spin up and spin down; pp.x writes their sum."""
    run = ferromagnet_run.read()
    density = read_charge_density(ferromagnet_run.charge_density, run.fft_grid, run.atoms)
    assert density.shape == (2, *run.fft_grid)
    assert np.abs(density.sum(axis=0) - read_density(ferromagnet_run.density, run.atoms)).max() < 1e-9
    up, down = integral(density, run.atoms)
    assert (up + down, up - down) == (pytest.approx(4.0, abs=1e-6), pytest.approx(run.magnetization, abs=1e-6))


def test_spin_polarised_runs(antiferromagnet_run, ferromagnet_run, open_shell_run):
    for finished, magnetization, fixed in (
        (antiferromagnet_run, 0.0, None),
        (ferromagnet_run, None, None),
        (open_shell_run, 2.0, 2.0),
    ):
        run = finished.read()
        check_supported(run)
        assert run.n_spin == 2
        assert run.eigenvalues.shape == run.occupations.shape == (2, len(run.kpoints), 6)
        up, down = np.einsum('k,skn->s', run.weights, run.occupations)
        assert up + down == pytest.approx(run.n_electrons, abs=1e-5)
        assert up - down == pytest.approx(run.magnetization, abs=1e-5)
        assert run.fixed_magnetization == fixed
        if magnetization is not None:
            assert run.magnetization == pytest.approx(magnetization, abs=1e-6)
    assert 1.0 < ferromagnet_run.read().magnetization < 2.0


def test_truncated_spin_density_is_refused(antiferromagnet_run, tmp_path):
    path = tmp_path / 'charge-density.dat'
    path.write_bytes(antiferromagnet_run.charge_density.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r'charge-density\.dat: '):
        read_charge_density(path, antiferromagnet_run.read().fft_grid)
