"""Real jobs whose files are bad: the executable refuses them at once, and its line is in the exit message."""

import shutil

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory

OPTIONS = {'resources': {'num_machines': 1}, 'max_wallclock_seconds': 300, 'withmpi': False}


@pytest.fixture
def folders(rattled_alas_run, tmp_path):
    """Return copies of the folders of pw.x and of pp.x, to be spoilt."""
    save, potential = tmp_path / 'pw/out/aiida.save', tmp_path / 'pp'
    save.mkdir(parents=True)
    potential.mkdir()
    shutil.copy(rattled_alas_run.xml, save)
    shutil.copy(rattled_alas_run.potential, potential / 'aiida.filplot')
    return tmp_path / 'pw', potential


def truncate(path):
    """Cut a file in the middle."""
    text = path.read_text()
    path.write_text(text[: len(text) // 2])


def edit(path, old, new):
    """Change words of a file."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def displace(path):
    """Move the first atom in the header of a filplot."""
    lines = path.read_text().split('\n')
    site = next(index for index, line in enumerate(lines) if len(line.split()) == 5 and line.split()[-1] in '12')
    number, x, *rest = lines[site].split()
    lines[site] = ' '.join([number, f'{float(x) + 0.05:.9f}', *rest])
    path.write_text('\n'.join(lines))


SPOIL = {
    'truncated potential': (
        lambda xml, filplot: truncate(filplot),
        'aiida.filplot: truncated or damaged',
    ),
    'potential of another structure': (
        lambda xml, filplot: displace(filplot),
        'aiida.filplot: belongs to another structure: atom 0',
    ),
    'unconverged': (
        lambda xml, filplot: edit(xml, '<convergence_achieved>true', '<convergence_achieved>false'),
        'did not converge',
    ),
    'spin-orbit': (
        lambda xml, filplot: edit(xml, '<spinorbit>false', '<spinorbit>true'),
        'spin-orbit runs without noncolin are not supported',
    ),
}


@pytest.mark.qe
@pytest.mark.parametrize('name', SPOIL)
def test_reconstruct(folders, make_remote, hamlr_code, al_as_pseudos, basis_node, name):
    """Each of them ends with the exit code of bad input and no Hamiltonian."""
    spoil, words = SPOIL[name]
    run, potential = folders
    spoil(run / 'out/aiida.save/data-file-schema.xml', potential / 'aiida.filplot')
    kpoints = orm.KpointsData()
    kpoints.set_kpoints_mesh([2, 2, 2])
    calculation = CalculationFactory('hamlr.reconstruct')
    outputs, node = run_get_node(
        calculation,
        code=hamlr_code,
        parent_folder=make_remote(path=run),
        potential_folder=make_remote(path=potential),
        pseudos=al_as_pseudos,
        basis=basis_node,
        kpoints=kpoints,
        metadata={'options': OPTIONS},
    )
    assert node.exit_status == calculation.exit_codes.ERROR_BAD_INPUT.status, node.exit_message
    assert words in node.exit_message
    assert 'hamiltonian' not in outputs
