"""`hamlr reconstruct` on a run of pw.x, and everything that it must refuse."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from ase.io import write

from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.electronic.bands.properties import Properties
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.errors import NumericalError
from aiida_hamlr.io.qe import read_scf_xml

pytestmark = pytest.mark.qe

SCF = """
&control
  calculation = 'scf', prefix = 'aiida', outdir = './out', pseudo_dir = '{study}/pseudos'
/
&system
  ibrav = 0, nat = 2, ntyp = 2, ecutwfc = 30, nbnd = 8
/
&electrons
  conv_thr = 1e-9
/
ATOMIC_SPECIES
Al 26.98 Al.upf
As 74.92 As.upf
CELL_PARAMETERS angstrom
0 2.83 2.83
2.83 0 2.83
2.83 2.83 0
ATOMIC_POSITIONS crystal
Al 0 0 0
As 0.25 0.25 0.25
K_POINTS automatic
2 2 2 0 0 0
"""

CONFIG = """
structure: scf.xml
potential: aiida.filplot
pseudos: {{Al: {study}/pseudos/Al.upf, As: {study}/pseudos/As.upf}}
basis: {{Al: {study}/basis/Al.basis.h5, As: {study}/basis/As.basis.h5}}
kpoints: [2, 2, 2]
plane_wave_bands: scf.xml
output: out/hamiltonian.h5
"""


@pytest.fixture(scope='module')
def finished_run(study, tmp_path_factory):
    """Folder with scf.xml, aiida.filplot and rho.filplot."""
    folder = tmp_path_factory.mktemp('qe')
    (folder / 'scf.in').write_text(SCF.format(study=study))
    (folder / 'pp.in').write_text(
        "&inputpp\n prefix = 'aiida', outdir = './out', plot_num = 1, filplot = 'aiida.filplot'\n/\n"
    )
    subprocess.run(['pw.x', '-in', 'scf.in'], cwd=folder, check=True, capture_output=True)
    (folder / 'rho.in').write_text(
        "&inputpp\n prefix = 'aiida', outdir = './out', plot_num = 0, filplot = 'rho.filplot'\n/\n"
    )
    for name in ('pp.in', 'rho.in'):
        subprocess.run(['pp.x', '-in', name], cwd=folder, check=True, capture_output=True)
    shutil.copy(folder / 'out/aiida.save/data-file-schema.xml', folder / 'scf.xml')
    return folder


@pytest.fixture
def workspace(study, finished_run, tmp_path):
    """A folder with all inputs of its own, to be spoilt."""
    for name in ('scf.xml', 'aiida.filplot', 'rho.filplot', 'out/aiida.save/charge-density.dat'):
        shutil.copy(finished_run / name, tmp_path)
    (tmp_path / 'reconstruct.yaml').write_text(CONFIG.format(study=study))
    return tmp_path


def edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_hamiltonian_of_a_run(workspace, hamlr):
    result = hamlr('reconstruct', 'reconstruct.yaml')
    assert result.exit_code == 0, result.stderr
    hamiltonian = Hamiltonian.read(workspace / 'out/hamiltonian.h5')
    assert set(hamiltonian.matrices) == {'hamiltonian', 'overlap', 'h0', 'density_matrix'}
    assert np.sum(hamiltonian.density_matrix * hamiltonian.overlap) == pytest.approx(8, abs=1e-9)
    summary = json.loads((workspace / 'out/summary.json').read_text())
    # By the variational principle the eigenvalues lie above the plane-wave ones; a single short zeta, far above.
    assert summary['band_error_occupied_meV'] > 0
    assert summary['band_error_conduction_meV'] > 0
    assert summary['variational_violation_meV'] < 1
    assert summary['n_pairs'] == len(hamiltonian.pattern)


def test_density_instead_of_the_potential(workspace, hamlr):
    """pp.x can be left out."""
    assert hamlr('reconstruct', 'reconstruct.yaml').exit_code == 0
    expected = Hamiltonian.read(workspace / 'out/hamiltonian.h5')
    edit(workspace / 'reconstruct.yaml', 'potential: aiida.filplot', 'density: charge-density.dat')
    assert hamlr('reconstruct', 'reconstruct.yaml').exit_code == 0
    found = Hamiltonian.read(workspace / 'out/hamiltonian.h5')
    assert np.abs(found.hamiltonian - expected.hamiltonian).max() < 1e-5
    assert np.array_equal(found.h0, expected.h0)


PROPERTIES = """
properties:
  outputs: [bands, dos, projections, masses, charges, profile]
  spacing: 0.1
"""


def test_properties_of_the_run(workspace, hamlr):
    """They are those that `hamlr properties` computes of the file; the density of states holds all electrons."""
    edit(workspace / 'reconstruct.yaml', 'potential: aiida.filplot', 'density: charge-density.dat')
    with (workspace / 'reconstruct.yaml').open('a') as stream:
        stream.write(PROPERTIES)
    result = hamlr('reconstruct', 'reconstruct.yaml')
    assert result.exit_code == 0, result.stderr
    summary = json.loads((workspace / 'out/summary.json').read_text())
    bands, found = (kind.read(workspace / f'out/{kind.__name__.lower()}.h5') for kind in (Bands, Properties))
    below = found.dos_energies < summary['fermi_level_eV']
    step = found.dos_energies[1] - found.dos_energies[0]
    assert found.dos[below].sum() * step == pytest.approx(8, abs=1e-6)
    assert found.charges.sum() == pytest.approx(0, abs=1e-8)
    assert len(found.planar_potential) == Hamiltonian.read(workspace / 'out/hamiltonian.h5').attributes.grid[2]
    # Gamma and X are points of the mesh and of the path.
    energies = bands.eigenvalues[0]
    assert energies[:, 4].min() - energies[:, 3].max() == pytest.approx(summary['gap_eV'], abs=1e-9)
    assert Hamiltonian.read(workspace / 'out/hamiltonian.h5').attributes.gap == summary['gap_eV']
    wanted = 'bands,dos,projections,masses,charges,profile'
    again = hamlr(
        'properties', 'out/hamiltonian.h5', '-o', 'again', '--outputs', wanted, '--mesh', 2, 2, 2, '--spacing', 0.1
    )
    assert again.exit_code == 0, again.stderr
    assert np.array_equal(Bands.read(workspace / 'again/bands.h5').eigenvalues, bands.eigenvalues)
    other = Properties.read(workspace / 'again/properties.h5')
    assert np.array_equal(other.projected_dos, found.projected_dos)
    scalars = json.loads((workspace / 'again/summary.json').read_text())
    for key in ('gap_eV', 'vbm_eV', 'cbm_kpoint', 'effective_masses'):
        assert scalars[key] == summary[key]


@pytest.mark.parametrize(
    ('section', 'message'),
    [
        ('{outputs: [bandz]}', 'properties.outputs.0'),
        ('{outputs: [response]}', 'properties.outputs.0'),
        ('{spacin: 0.1}', "unknown key 'spacin' in properties; did you mean 'spacing'?"),
        ('{path: nowhere.txt}', 'nowhere.txt'),
    ],
)
def test_properties_that_cannot_be_are_refused(workspace, hamlr, section, message):
    with (workspace / 'reconstruct.yaml').open('a') as stream:
        stream.write(f'properties: {section}\n')
    result = hamlr('reconstruct', 'reconstruct.yaml')
    assert result.exit_code == 2
    assert message in result.stderr and 'Traceback' not in result.stderr
    assert not (workspace / 'out').exists()


def test_a_property_that_fails_leaves_the_hamiltonian(workspace, hamlr, monkeypatch):
    """The long work is not lost; properties can be computed from the file."""

    def fail(*_):
        raise NumericalError('not converged')

    monkeypatch.setattr('aiida_hamlr.jobs.reconstruct.compute_properties', fail)
    with (workspace / 'reconstruct.yaml').open('a') as stream:
        stream.write('properties: {outputs: [gap, dos]}\n')
    result = hamlr('reconstruct', 'reconstruct.yaml')
    assert result.exit_code != 0 and 'not converged' in result.stderr and 'Traceback' not in result.stderr
    assert not (workspace / 'out/properties.h5').exists() and not (workspace / 'out/summary.json').exists()
    again = hamlr('dos', 'out/hamiltonian.h5', '-o', 'dos.h5', '--mesh', 2, 2, 2)
    assert again.exit_code == 0, again.stderr


def hirshfeld(workspace):
    labels = Hamiltonian.read(workspace / 'out/hamiltonian.h5', matrices=()).labels
    return labels['hirshfeld_charges'], labels['hirshfeld_dipoles']


def test_potential_and_density(workspace, hamlr):
    """The potential is that of the filplot; the density serves the labels, from either of its files."""
    config = workspace / 'reconstruct.yaml'
    assert hamlr('reconstruct', 'reconstruct.yaml').exit_code == 0
    plain = Hamiltonian.read(workspace / 'out/hamiltonian.h5')
    assert plain.labels == {}
    edit(config, 'potential: aiida.filplot', 'potential: aiida.filplot\ndensity: rho.filplot')
    assert hamlr('reconstruct', 'reconstruct.yaml').exit_code == 0
    both = Hamiltonian.read(workspace / 'out/hamiltonian.h5')
    assert np.array_equal(both.hamiltonian, plain.hamiltonian)
    charges, dipoles = hirshfeld(workspace)
    assert charges[0] > 0.05 > -0.05 > charges[1]
    assert abs(charges.sum()) < 1e-6 and np.abs(dipoles).max() < 1e-6
    assert json.loads((workspace / 'out/summary.json').read_text())['labels'] == [
        'hirshfeld_charges',
        'hirshfeld_dipoles',
    ]
    printed = hamlr('info', 'out/hamiltonian.h5').stdout
    assert f'Hirshfeld charges: Al +{charges[0]:.4f} e, As -{charges[0]:.4f} e on average' in printed
    assert 'cutoff_error_meV' in printed
    edit(config, 'rho.filplot', 'charge-density.dat')
    assert hamlr('reconstruct', 'reconstruct.yaml').exit_code == 0
    assert np.abs(hirshfeld(workspace)[0] - charges).max() < 1e-6


@pytest.fixture(scope='module')
def phonon(finished_run):
    """Output of ph.x on the run."""
    inputs = "&inputph prefix='aiida' outdir='./out' epsil=.true. zeu=.true. trans=.false. tr2_ph=1e-12 /"
    (finished_run / 'ph.in').write_text(f'Z* and eps\n{inputs}\n0 0 0\n')
    done = subprocess.run(['ph.x', '-in', 'ph.in'], cwd=finished_run, check=True, capture_output=True, text=True)
    return done.stdout


def test_response_of_ph(workspace, hamlr, phonon):
    """Dielectric tensor and Born charges become labels, and are those that ph.x prints."""
    edit(workspace / 'reconstruct.yaml', 'potential: aiida.filplot', 'potential: aiida.filplot\nphonon: ph.out')
    (workspace / 'ph.out').write_text(phonon)
    result = hamlr('reconstruct', 'reconstruct.yaml')
    assert result.exit_code == 0, result.stderr
    read = Hamiltonian.read(workspace / 'out/hamiltonian.h5', matrices=())
    assert set(read.labels) == {'dielectric_tensor', 'born_charges'}
    eps = float(re.search(r'Dielectric constant.*\s+\(\s+(\S+)', phonon)[1])
    aluminium, arsenic = (float(x) for x in re.findall(r'Ex +\( +(\S+)', phonon)[-2:])
    assert eps > 5 and aluminium - arsenic > 1
    assert np.allclose(read.labels['dielectric_tensor'], eps * np.eye(3), atol=1e-6)
    # So few k-points violate the acoustic sum rule by far; what both have alike is taken from both.
    expected = (aluminium - arsenic) / 2 * np.array([np.eye(3), -np.eye(3)])
    assert np.allclose(read.labels['born_charges'], expected, atol=1e-5)
    violation = abs(aluminium + arsenic)
    assert read.attributes.born_charge_sum == pytest.approx(violation, abs=1e-4)
    summary = json.loads((workspace / 'out/summary.json').read_text())
    assert summary['labels'] == ['born_charges', 'dielectric_tensor']
    assert summary['born_charge_sum_e'] == pytest.approx(violation, abs=1e-4)
    assert f'their sum over the atoms, up to {violation:.4f} e,' in result.stdout
    printed = hamlr('info', 'out/hamiltonian.h5').stdout
    assert f'dielectric tensor ({eps:.4f} ' in printed
    assert f'Born charges: Al +{expected[0, 0, 0]:.4f} e, As -{expected[0, 0, 0]:.4f} e on average' in printed


def test_phonon_output_that_does_not_fit(workspace, hamlr, phonon):
    edit(workspace / 'reconstruct.yaml', 'potential: aiida.filplot', 'potential: aiida.filplot\nphonon: ph.out')
    (workspace / 'ph.out').write_text(phonon[: phonon.index('End of electric fields')])
    refused(hamlr, workspace, 'ph.out', 'neither dielectric tensor nor Born charges')
    (workspace / 'ph.out').write_text(re.sub(r'(2 +As .* = \( +)0', r'\g<1>1', phonon))
    refused(hamlr, workspace, 'ph.out', 'another structure', 'atom 1')
    (workspace / 'ph.out').unlink()
    refused(hamlr, workspace, 'ph.out', 'no such file')


def test_density_from_pp_needs_no_run(workspace, hamlr, finished_run):
    """Its header says what is needed of the run."""
    assert hamlr('reconstruct', 'reconstruct.yaml').exit_code == 0
    expected = Hamiltonian.read(workspace / 'out/hamiltonian.h5')
    write(workspace / 'alas.xyz', read_scf_xml(finished_run / 'scf.xml').atoms)
    config = workspace / 'reconstruct.yaml'
    edit(config, 'potential: aiida.filplot', 'density: rho.filplot')
    edit(config, 'plane_wave_bands: scf.xml\n', '')
    edit(config, 'structure: scf.xml', 'structure: alas.xyz')
    assert hamlr('reconstruct', 'reconstruct.yaml').exit_code == 0
    found = Hamiltonian.read(workspace / 'out/hamiltonian.h5')
    assert np.abs(found.hamiltonian - expected.hamiltonian).max() < 1e-5


def test_neither_potential_nor_density(workspace, hamlr):
    edit(workspace / 'reconstruct.yaml', 'potential: aiida.filplot\n', '')
    refused(hamlr, workspace, 'reconstruct.yaml', 'density', 'potential', 'or both')


def test_potential_and_density_of_different_runs(workspace, hamlr):
    """One value of the potential differs by 0.01 Ry."""
    file = workspace / 'aiida.filplot'
    *lines, last = file.read_text().rstrip().split('\n')
    first, *others = last.split()
    file.write_text('\n'.join([*lines, ' '.join([f'{float(first) + 0.01:.9E}', *others])]) + '\n')
    edit(workspace / 'reconstruct.yaml', 'potential: aiida.filplot', 'potential: aiida.filplot\ndensity: rho.filplot')
    refused(hamlr, workspace, 'aiida.filplot', 'rho.filplot', 'not that of the density')


def test_quality_assurance_is_asked_for_or_not(workspace, hamlr):
    config = workspace / 'reconstruct.yaml'
    edit(config, 'kpoints:', 'quality_assurance: false\nkpoints:')
    assert hamlr('reconstruct', 'reconstruct.yaml').exit_code == 0
    summary = json.loads((workspace / 'out/summary.json').read_text())
    assert summary['truncated_check_skipped'] == 'not asked for'
    edit(config, 'quality_assurance: false', 'quality_assurance: true')
    assert hamlr('reconstruct', 'reconstruct.yaml').exit_code == 0
    summary = json.loads((workspace / 'out/summary.json').read_text())
    assert summary['variational_violation_truncated_meV'] < 0.1
    assert summary['cutoff_error_meV'] > 0


def test_density_without_its_run(workspace, hamlr, finished_run):
    write(workspace / 'alas.xyz', read_scf_xml(finished_run / 'scf.xml').atoms)
    config = workspace / 'reconstruct.yaml'
    edit(config, 'potential: aiida.filplot', 'density: charge-density.dat')
    edit(config, 'plane_wave_bands: scf.xml\n', '')
    edit(config, 'structure: scf.xml', 'structure: alas.xyz')
    refused(hamlr, workspace, 'charge-density.dat', 'XML file of its run')


def test_recipe_instead_of_files(workspace, hamlr, study):
    config = workspace / 'reconstruct.yaml'
    edit(config, f'As: {study}/basis/As.basis.h5}}', 'As: {size: sz, cutoff_radius: 6}, recipe: plain}')
    assert hamlr('reconstruct', 'reconstruct.yaml').exit_code == 0
    assert Hamiltonian.read(workspace / 'out/hamiltonian.h5').basis['As'].metadata['size'] == 'sz'


BAD_RUNS = {
    'unconverged': ('<convergence_achieved>true', '<convergence_achieved>false', ['did not converge']),
    'noncollinear': ('<noncolin>false', '<noncolin>true', ['noncollinear', 'not supported']),
    'spin-orbit': ('<spinorbit>false', '<spinorbit>true', ['spin-orbit', 'not supported']),
    'charged': ('<tot_charge>0.0', '<tot_charge>1.0', ['charged']),
    'ultrasoft': ('<uspp>false', '<uspp>true', ['ultrasoft']),
    'truncated': ('</output>', '', ['scf.xml', 'truncated']),
}


@pytest.mark.parametrize('name', BAD_RUNS)
def test_runs_that_are_refused(workspace, hamlr, name):
    old, new, words = BAD_RUNS[name]
    edit(workspace / 'scf.xml', old, new)
    refused(hamlr, workspace, *words, 'scf.xml')


def refused(hamlr, workspace, *words):
    """The command ends with status 2 and one line that holds the words, and writes nothing."""
    before = sorted(workspace.rglob('*'))
    result = hamlr('reconstruct', 'reconstruct.yaml')
    assert result.exit_code == 2, result.stdout
    assert result.stderr.startswith('hamlr: ')
    assert result.stderr.count('\n') == 1
    for word in words:
        assert word in result.stderr
    assert sorted(workspace.rglob('*')) == before


def test_truncated_potential(workspace, hamlr):
    data = (workspace / 'aiida.filplot').read_bytes()
    (workspace / 'aiida.filplot').write_bytes(data[:-500])
    refused(hamlr, workspace, 'aiida.filplot', 'truncated')


def test_potential_of_another_structure(workspace, hamlr):
    file = workspace / 'aiida.filplot'
    lines = file.read_text().split('\n')
    site = next(i for i, line in enumerate(lines) if line.split()[-1:] == ['2'] and len(line.split()) == 5)
    number, *position, kind = lines[site].split()
    lines[site] = ' '.join([number, f'{float(position[0]) + 0.05:.9f}', *position[1:], kind])
    file.write_text('\n'.join(lines))
    refused(hamlr, workspace, 'aiida.filplot', 'another structure', 'atom')


def test_density_instead_of_potential(workspace, hamlr):
    file = workspace / 'aiida.filplot'
    lines = file.read_text().split('\n')
    header = next(i for i, line in enumerate(lines) if len(line.split()) == 4 and line.split()[-1] == '1' and i > 3)
    lines[header] = ' '.join([*lines[header].split()[:-1], '0'])
    file.write_text('\n'.join(lines))
    refused(hamlr, workspace, 'aiida.filplot', 'plot_num')


def test_element_without_basis(workspace, hamlr, study):
    edit(workspace / 'reconstruct.yaml', f', As: {study}/basis/As.basis.h5', '')
    refused(hamlr, workspace, 'no basis for As')


def test_element_without_pseudopotential(workspace, hamlr, study):
    edit(workspace / 'reconstruct.yaml', f', As: {study}/pseudos/As.upf', '')
    refused(hamlr, workspace, 'no pseudopotential for As')


def test_files_of_the_wrong_element(workspace, hamlr, study):
    edit(workspace / 'reconstruct.yaml', f'As: {study}/pseudos/As.upf', f'As: {study}/pseudos/Al.upf')
    refused(hamlr, workspace, 'given for As', 'Al')


@pytest.mark.parametrize('kind', ['US', 'PAW'])
def test_pseudopotential_that_is_not_norm_conserving(workspace, hamlr, study, kind):
    text = (study / 'pseudos/As.upf').read_text()
    assert 'pseudo_type="NC"' in text
    (workspace / 'As.upf').write_text(text.replace('pseudo_type="NC"', f'pseudo_type="{kind}"'))
    edit(workspace / 'reconstruct.yaml', f'As: {study}/pseudos/As.upf', 'As: As.upf')
    refused(hamlr, workspace, 'As.upf', 'norm-conserving')


def test_unknown_key(workspace, hamlr):
    edit(workspace / 'reconstruct.yaml', 'kpoints', 'kpoint')
    refused(hamlr, workspace, "unknown key 'kpoint'", "did you mean 'kpoints'", 'reconstruct.yaml')
