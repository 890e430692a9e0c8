"""`hamlr reconstruct` on runs that were refused wrongly, or taken wrongly: each has its right value or its reason."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from ase import Atoms
from qe_fixtures import PSEUDO_FILES, debian_pseudo, run_pw

from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.pseudo.upf import parse_upf
from aiida_hamlr.electronic.pseudo.upf_writing import format_upf

pytestmark = pytest.mark.qe

CONFIG = """
structure: {xml}
{source}
pseudos: {{{pseudos}}}
basis: {{size: sz, recipe: plain, cutoff_radius: 6.0}}
kpoints: [2, 2, 1]
quality_assurance: false
output: out/hamiltonian.h5
"""


@pytest.fixture
def reconstruct(hamlr, tmp_path):
    """Function: run the command on a finished run; result, and Hamiltonian and summary if it ended well."""

    def run(finished, pseudos, route='density', folder=None):
        folder = folder or finished.xml.parent
        source = f'density: {folder}' if route == 'density' else f'potential: {finished.potential}'
        listed = ', '.join(f'{element}: {path}' for element, path in pseudos.items())
        text = CONFIG.format(xml=folder / 'data-file-schema.xml', source=source, pseudos=listed)
        (tmp_path / 'reconstruct.yaml').write_text(text)
        result = hamlr('reconstruct', 'reconstruct.yaml')
        if result.exit_code:
            assert result.exit_code == 2 and result.stderr.count('\n') == 1
            assert not (tmp_path / 'out').exists()
            return result.stderr, None
        summary = json.loads((tmp_path / 'out/summary.json').read_text())
        return Hamiltonian.read(tmp_path / 'out/hamiltonian.h5'), summary

    return run


@pytest.mark.parametrize('kind', ['2D', 'dipole correction'])
def test_slabs_by_both_routes(polar_slab_runs, reconstruct, kind):
    pseudos = {element: PSEUDO_FILES[element] for element in ('Al', 'As')}
    by_density, summary = reconstruct(polar_slab_runs[kind], pseudos)
    by_potential, other = reconstruct(polar_slab_runs[kind], pseudos, 'potential')
    assert np.abs(by_density.hamiltonian - by_potential.hamiltonian).max() < 1e-4
    assert summary['electrostatics'] == other['electrostatics'] == kind
    assert summary['plane_wave_error_meV'] < 0.3
    below, above = summary['work_functions_eV']
    assert below == pytest.approx(summary['vacuum_levels_eV'][0] - summary['fermi_level_eV'])
    assert above - below > 1.0
    assert 'work_functions_eV' not in other
    assert any('k-points of the run' in warning for warning in summary['warnings'])
    assert by_density.attributes.warnings == summary['warnings']


def test_another_pseudopotential_of_the_same_valence(si_run, reconstruct, tmp_path):
    """With the copy that pw.x keeps at hand by its content, without it by the levels."""
    content = parse_upf(PSEUDO_FILES['Si'].read_text())
    other = tmp_path / 'Si.other.UPF'
    other.write_text(format_upf(dataclasses.replace(content, dij=0.98 * content.dij), 'D_ij * 0.98', 'test'))
    error, _ = reconstruct(si_run, {'Si': other})
    assert 'Si.upf: the run read another pseudopotential of Si than the given one' in error
    folder = tmp_path / 'copied'
    folder.mkdir()
    for name in ('data-file-schema.xml', 'charge-density.dat'):
        shutil.copy(si_run.xml.parent / name, folder)
    for route in ('density', 'potential'):
        error, _ = reconstruct(si_run, {'Si': other}, route, folder)
        assert 'lowest levels of the run are missed by' in error
        assert 'in this order: other pseudopotentials than those of the run, which read Si Si.upf' in error


def test_two_pseudopotentials_of_one_element(reconstruct, tmp_path, upf_pseudos):
    """Capping hydrogens of charges 1.25 and 0.75."""
    content = parse_upf(debian_pseudo('H.pz-vbc.UPF').text)
    pseudos = dict(upf_pseudos)
    for z in (0.75, 1.25):
        scaled = dataclasses.replace(content, z_valence=z, v_local=z * content.v_local, rho_atom=z * content.rho_atom)
        (tmp_path / f'H{z}.upf').write_text(format_upf(scaled, 'scaled hydrogen', 'test'))
        pseudos['H'] = Pseudopotential.read(tmp_path / f'H{z}.upf')
    cell = [[3.9, 0, 0], [-1.95, 3.9 * np.sqrt(0.75), 0], [0, 0, 9.0]]
    atoms = Atoms('H2', scaled_positions=[[0, 0, 0.4], [0, 0, 0.5]], cell=cell, pbc=True)
    finished = run_pw(tmp_path, atoms, pseudos, 10, (1, 1, 1), 4, labels=['H1', 'H2'])
    text = finished.xml.read_text()
    head, tail = text.split('<species name="H2">', 1)
    marked = head + '<species name="H2">' + tail
    marked = marked.replace('<pseudo_file>H.upf</pseudo_file>', '<pseudo_file>H.1.25.upf</pseudo_file>', 1)
    output = marked.index('<output>')
    first = marked.index('<pseudo_file>H.upf', output)
    finished.xml.write_text(marked[:first] + marked[first:].replace('H.upf', 'H.1.25.upf', 1))
    error, _ = reconstruct(finished, {'H': tmp_path / 'H.upf'})
    assert 'species H1 and H2 had different pseudopotentials (H.1.25.upf, H.upf); give one for each' in error
