"""The files that the documentation says to write are accepted."""

import ast
import csv
import re
import shlex
import shutil
from pathlib import Path

import ase.io
import click
import numpy as np
import pytest
import yaml
from aiida import orm
from aiida.cmdline.commands.cmd_code import code_create
from aiida.cmdline.commands.cmd_computer import computer_setup
from aiida.common import AttributeDict
from aiida.engine import run
from aiida.manage import get_config, get_profile
from aiida.plugins import CalculationFactory
from aiida_fixtures import find_problem
from click.testing import CliRunner
from foreign_examples import example

import aiida_hamlr
from aiida_hamlr import __version__
from aiida_hamlr.cli import cmd_root
from aiida_hamlr.cli.installation import create_pseudo_family, find_executable
from aiida_hamlr.jobs.cli import main as hamlr

PAGE = Path(__file__).resolve().parents[1] / 'docs/howto/cluster.md'


@pytest.mark.usefixtures('aiida_profile_clean')
def test_cluster(al_as_pseudos, tmp_path, monkeypatch):
    """Computer and codes come from the YAML of both pages; in a container, the shell of the job fills in the folder."""
    monkeypatch.chdir(tmp_path)
    pages = (PAGE.parents[1] / 'tutorials/cluster.md').read_text() + PAGE.read_text()
    for text in re.findall(r'```yaml\n(.*?)```', pages, re.DOTALL):
        name = re.match(r'# (\S+)\n', text).group(1)
        Path(name).write_text(text)
        if name == 'cluster.yaml':
            command, arguments = computer_setup, []
        else:
            command, arguments = code_create, ['core.code.' + ('containerized' if 'container' in name else 'installed')]
        verdi = AttributeDict({'config': get_config(), 'profile': get_profile()})
        result = CliRunner().invoke(command, [*arguments, '--config', name, '-n'], obj=verdi)
        assert result.exit_code == 0, result.output
        if name == 'hamlr.yaml':
            code = orm.load_code('hamlr@cluster')
            assert code.with_mpi is False
            code.label = 'installed'
    script = dry_run(orm.load_code('hamlr@cluster'), al_as_pseudos, tmp_path)
    assert '"apptainer" "exec" "--nv" "--bind" "$PWD:$PWD" "/project/ab12/hamlr.sif"' in script
    assert '#SBATCH --gres=gpu:1' in script


def dry_run(code, pseudos, folder):
    """Return the job script of a calculation."""
    options = {
        'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1, 'num_cores_per_mpiproc': 8},
        'custom_scheduler_commands': '#SBATCH --gres=gpu:1',
    }
    metadata = {'options': options, 'dry_run': True, 'store_provenance': False}
    run(CalculationFactory('hamlr.basis'), code=code, pseudos=pseudos, metadata=metadata)
    return next(folder.glob('submit_test/*/_aiidasubmit.sh')).read_text()


@pytest.mark.qe
def test_python_tutorial(rattled_alas_run, tmp_path, monkeypatch):
    """The blocks of the page run one after the other, beside the files of a run."""
    for path in (rattled_alas_run.xml, rattled_alas_run.charge_density, *rattled_alas_run.folder.glob('*.upf')):
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    text = (PAGE.parents[1] / 'tutorials/python.md').read_text()
    names = {}
    for block in re.findall(r'```python\n(.*?)```', text, re.DOTALL):
        exec(block, names)  # noqa: S102 the page's own code
    assert names['predicted'].attributes.origin == 'predicted'
    assert (tmp_path / 'bands.png').is_file()
    assert names['reference'].attributes.verification['band_mae_occupied_meV'] > 0
    assert names['h0'].n_occupied == 4


def test_properties_page(make_hamiltonian, zincblende, tmp_path, monkeypatch):
    """The commands and the programs of the page run one after the other beside a Hamiltonian file."""
    monkeypatch.chdir(tmp_path)
    make_hamiltonian(zincblende(cubic=True)).write('hamiltonian.h5')
    text = (PAGE.parent / 'properties.md').read_text()
    names = {}
    commands = re.findall(r'^\$ hamlr (.*)$', text, re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        result = CliRunner().invoke(hamlr, command.split(), catch_exceptions=False)
        assert result.exit_code == 0, result.output
    for block in re.findall(r'```python\n(.*?)```', text, re.DOTALL):
        exec(block, names)  # noqa: S102 the page's own code
    assert names['gap'] > 0 and len(names['along_111']) == 3
    # Averaged over the whole cell, the potential is one number.
    assert names['potential'] == pytest.approx(names['potential'].mean())
    assert abs(names['valence']) < 1.0 > abs(names['conduction'])
    for picture in ('all/bands.png', 'all/fat_bands.png', 'all/dos.png', 'dos/dos.png'):
        assert Path(picture).stat().st_size > 5000


def test_large_structures(tmp_path, monkeypatch, make_hamiltonian, zincblende):
    """Commands and Python of the page run on a small structure; its configuration has known keys."""
    from aiida_hamlr.jobs.cli import main
    from aiida_hamlr.jobs.schemas import PredictConfig

    monkeypatch.chdir(tmp_path)
    hamiltonian = make_hamiltonian(zincblende(cubic=True) * (1, 1, 2))
    hamiltonian.write('hamiltonian.h5')
    text = (PAGE.parent / 'large.md').read_text()
    assert set(yaml.safe_load(re.search(r'```yaml\n(.*?)```', text, re.DOTALL).group(1))) <= set(
        PredictConfig.model_fields
    )
    for line in re.findall(r'^\$ hamlr (.*)', text, re.MULTILINE):
        with pytest.raises(SystemExit) as end:
            main(line.split())
        assert end.value.code == 0
    names = {}
    exec(re.search(r'```python\n(.*?)```', text, re.DOTALL).group(1), names)  # noqa: S102 the page's own code
    assert names['below'][1] == hamiltonian.n_electrons / 2
    assert names['found'].states.shape == (hamiltonian.n_orbitals, 32)


@pytest.mark.usefixtures('aiida_profile')
def test_active_learning(zincblende, tmp_path, monkeypatch):
    """The command of the page has known options, its query runs, and so does the selection without AiiDA."""
    from aiida_hamlr.cli import cmd_root

    monkeypatch.chdir(tmp_path)
    text = (PAGE.parent / 'active_learning.md').read_text()
    (command,) = re.findall(r'^\$ aiida-hamlr launch (active-learning .*)$', text, re.MULTILINE)
    launch = cmd_root.get_command(None, 'launch')
    options = {name for option in launch.get_command(None, 'active-learning').params for name in option.opts}
    given = set(re.findall(r' (--?[a-zA-Z][a-z-]*)', command)) | set(re.findall(r'^\| `(-[^`]*)`', text, re.MULTILINE))
    assert len(given) > 10 and given <= options
    frames = [zincblende() for _ in range(6)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.05 * seed, seed=seed)
    ase.io.write('candidates.extxyz', frames)
    names = {}
    for block in re.findall(r'```python\n(.*?)```', text, re.DOTALL):
        exec(block, names)  # noqa: S102 the page's own code
    assert names['curve'] == []
    assert len(set(names['chosen'])) == 4


def test_exchange_page(tmp_path, monkeypatch, capsys):
    """The commands for DeepH and Wannier90, and the blocks of Python for sisl."""
    from aiida_hamlr.electronic.bands.kspace import eigenvalues

    text = (PAGE.parent / 'exchange.md').read_text()
    monkeypatch.chdir(tmp_path)
    hamiltonian = example()
    hamiltonian.write('hamiltonian.h5')
    exports = (
        f'hamlr export hamiltonian.h5 --format {name}' for name in ('deepx -o for_deeph', 'wannier90 -o for_wannier90')
    )
    for line in (*exports, 'hamlr info hamiltonian.h5'):
        assert line in text
        result = CliRunner().invoke(hamlr, line.split()[1:], catch_exceptions=False)
        assert result.exit_code == 0, result.output
    line = 'hamlr import deeph_data/0 --format deepx -o hamiltonian.h5'
    assert line in text
    (tmp_path / 'for_deeph').rename(tmp_path / 'deeph_data')
    arguments = line.replace('deeph_data/0', 'deeph_data').split()[1:]
    assert CliRunner().invoke(hamlr, arguments, catch_exceptions=False).exit_code == 0
    expected = eigenvalues(hamiltonian, [[0, 0, 0.5]])[0]
    blocks = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
    assert len(blocks) == 3
    exec(blocks[2], {})  # noqa: S102 the page's own code
    assert aiida_hamlr.Hamiltonian.read('with_electrons.h5').n_electrons == 8.0
    for block in blocks[:2]:
        capsys.readouterr()
        exec(block, {})  # noqa: S102 the page's own code
        printed = np.array(capsys.readouterr().out.strip(' []\n').split(), dtype=float)
        np.testing.assert_allclose(printed, expected, rtol=0, atol=1e-6)


def test_citation():
    """The citation file names this version, and what the schema of version 1.2.0 requires."""
    citation = yaml.safe_load((PAGE.parents[2] / 'CITATION.cff').read_text())
    assert citation['cff-version'] == '1.2.0'
    assert citation['version'] == __version__
    assert {'message', 'title', 'authors'} <= set(citation)
    assert all({'name'} <= set(author) or {'family-names'} <= set(author) for author in citation['authors'])


def test_pages_name_modules_that_exist():
    """Files and modules of the package that the pages name are there."""
    root = PAGE.parents[2]
    pages = [
        root / 'README.md',
        root / 'CONTRIBUTING.md',
        *(root / 'docs').glob('*.md'),
        *(root / 'docs').glob('*/*.md'),
    ]
    missing = []
    for page in pages:
        text = page.read_text()
        names = re.findall(r'\baiida_hamlr/[\w/]+\.py\b', text)
        names += [f'examples/{name}' for name in re.findall(r'examples/([\w/]+\.(?:py|npz))\b', text)]
        missing += [f'{page.name}: {name}' for name in names if not (root / name).exists() and 'NAME' not in name]
        for name in re.findall(r'\b(aiida_hamlr(?:\.\w+)+)', text):
            parts = name.split('.')
            found = any(_is_module(root, parts[:n]) for n in range(2, len(parts) + 1)) or hasattr(aiida_hamlr, parts[1])
            missing += [] if found else [f'{page.name}: {name}']
    assert not missing


def _is_module(root, parts):
    path = root.joinpath(*parts)
    return path.is_dir() or path.with_suffix('.py').is_file()


def write_alloy_model(folder, elements, ecutrho=40.0):
    """Write an untrained model in the smallest orbitals, which predicts H0."""
    from aiida_hamlr.electronic.orbitals.basis import Basis
    from aiida_hamlr.electronic.orbitals.generation import generate_basis
    from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential
    from aiida_hamlr.model.config import ModelConfig
    from aiida_hamlr.model.files import write_model
    from aiida_hamlr.model.hamiltonian_model import HamiltonianModel

    pseudos = {element: make_pseudopotential(element) for element in elements}
    basis = Basis({element: generate_basis(pseudo, 'sz', 5.0) for element, pseudo in pseudos.items()})
    shells = {element: list(species.angular_momenta) for element, species in basis.items()}
    config = ModelConfig(short_range={'layers': 1, 'hidden_channels': 8, 'pair_channels': 8})
    model = HamiltonianModel(shells, config, 4.0, 20.0)
    texts = {element: pseudo.text for element, pseudo in pseudos.items()}
    write_model(folder, model, model.state_dict(), basis, texts, {'ecutrho_Ry': ecutrho, 'functional': 'lda'})


@pytest.fixture
def alloy_model(aiida_profile, tmp_path):
    """Return a model that can predict."""
    from aiida_hamlr.data.model import ModelData

    write_alloy_model(tmp_path / 'model', ('Al', 'As'))
    return ModelData.from_folder(tmp_path / 'model').store()


def test_superlattice(tmp_path, monkeypatch):
    """The page from the structures to the band offset, with two cells of each crystal and a coarse mesh.

    The model predicts H0: neutral atoms, between which no charge flows. The levels of the inner layers are then those
    of the crystals, and the offset is the difference of their own edges.
    """
    monkeypatch.chdir(tmp_path)
    write_alloy_model(tmp_path / 'model', ('Al', 'Ga', 'As'), ecutrho=140.0)
    text = (PAGE.parent / 'superlattice.md').read_text()
    structures, offset = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
    exec(structures.replace('(1, 1, 8)', '(1, 1, 2)'), {})  # noqa: S102 the page's own code
    for block in re.findall(r'```yaml\n(.*?)```', text, re.DOTALL):
        name = re.match(r'# (\S+):', block).group(1)
        Path(name).write_text(block.replace('[6, 6, 6]', '[2, 2, 2]'))
    for command in re.findall(r'^\$ hamlr (.*)$', text, re.MULTILINE):
        result = CliRunner().invoke(hamlr, command.split(), catch_exceptions=False)
        assert result.exit_code == 0, result.output
    names = {}
    exec(offset, names)  # noqa: S102 the page's own code
    found, crystals = names['offset'], [each.attributes for each in names['crystals']]
    assert found.valence == pytest.approx(crystals[1].vbm - crystals[0].vbm, abs=0.03)
    assert found.conduction == pytest.approx(crystals[1].cbm - crystals[0].cbm, abs=0.03)
    assert max(found.spreads) < 0.03


@pytest.mark.usefixtures('aiida_profile_clean')
def test_screening(localhost, alloy_model, tmp_path, monkeypatch):
    """Commands and blocks of the tutorial run, then those of the how-to page; nothing is predicted twice."""
    code = orm.InstalledCode(
        label='hamlr',
        computer=localhost,
        filepath_executable=str(find_executable('hamlr')),
        prepend_text='export OMP_NUM_THREADS=1',
    ).store()
    monkeypatch.chdir(tmp_path)
    text = (PAGE.parents[1] / 'tutorials/screening.md').read_text()
    names, screenings = {}, []
    # In their order on the page, with the elements of the model.
    for python, console in re.findall(r'```python\n(.*?)```|```console\n(.*?)```', text, re.DOTALL):
        exec(python.replace("'BP'", "'AlAs'").replace('4.54', '5.66'), names)  # noqa: S102 the page's own code
        for words in commands_of(console):
            values = {'MODEL': alloy_model.pk, 'PK': screenings[:1], 'OTHER': screenings[-1:]}
            words = [str(*np.ravel(values.get(word, word))) for word in words[1:]]
            launched = words[0] == 'launch'
            if words[0] == 'report' or 'uncertainty_meV' in words:
                continue  # the model, which was never trained, knows no uncertainty
            result = CliRunner().invoke(cmd_root, [*words, '-Z', code.full_label] if launched else words)
            assert result.exit_code == 0, result.output
            screenings += re.findall(r'ScreenWorkChain<(\d+)> finished', result.output)
    jobs = [
        [len(job.outputs.results) for job in orm.load_node(pk).called_descendants if isinstance(job, orm.CalcJobNode)]
        for pk in screenings
    ]
    assert jobs == [[5], [1], [6]]
    assert '6 structures with a gap in both, of 6 and 6: mean difference' in result.output
    rows = list(csv.DictReader(Path('gaps.csv').open()))
    assert [row['status'] for row in rows] == 6 * ['done']
    for row in rows:
        assert float(row['gap_eV']) == pytest.approx(max(0.0, float(row['cbm_eV']) - float(row['vbm_eV'])))
    assert Path('gaps.png').stat().st_size > 5000
    # From Python, with the parameters of the last screening: there is nothing left to predict.
    text = (PAGE.parent / 'screen.md').read_text().replace("'alloys'", "'strained'")
    first, second = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
    names = {'MODEL': alloy_model.pk}
    exec(first.replace('hamlr@localhost', code.full_label).replace("'fast'", "'balanced'"), names)  # noqa: S102
    assert not any(isinstance(called, orm.CalcJobNode) for called in names['node'].called_descendants)
    exec(second, names)  # noqa: S102 the page's own code
    assert len(names['found']) == 6


def test_tests_that_are_cited_exist():
    """Guarantees in the documentation name the single tests that hold them."""
    root = PAGE.parents[2]
    text = (root / 'docs/topics/robustness.md').read_text()
    cited = re.findall(r'`(tests/[\w/]+\.py)(?:::(\w+))?`', text)
    assert len(cited) > 60
    missing = []
    for path, name in cited:
        tree = ast.parse((root / path).read_text())
        names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        missing += [f'{path}::{name}'] if name not in names or not name.startswith('test_') else []
    assert not missing


def commands_of(text):
    """Return the words of each command of ours on a page; continued lines are joined."""
    lines = re.findall(r'^\$ ((?:aiida-hamlr|hamlr) .*)$', text.replace('\\\n', ' '), re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


def unknown_word(words):
    """Return the first word of a command that names neither a subcommand nor an option, or nothing."""
    command = {'hamlr': hamlr, 'aiida-hamlr': cmd_root}[words[0]]
    context, rest = click.Context(command), words[1:]
    while isinstance(command, click.Group) and rest and not rest[0].startswith('-'):
        child = command.get_command(context, rest[0])
        if child is None:
            return rest[0]
        command, rest = child, rest[1:]
    if '--help' in rest or '--version' in rest:
        return None
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return next((word for word in rest if re.match(r'--?[a-zA-Z]', word) and word.split('=')[0] not in known), None)


def test_commands_exist():
    """Each command on a page is a command of ours, with options that it has."""
    root = PAGE.parents[2]
    pages = [root / 'README.md', *(root / 'docs').glob('*.md'), *(root / 'docs').glob('*/*.md')]
    found = [(page.name, words) for page in pages for words in commands_of(page.read_text())]
    assert len(found) > 60
    assert [f'{name}: {" ".join(words)}' for name, words in found if unknown_word(words)] == []


@pytest.mark.usefixtures('aiida_profile_clean')
def test_own_material(pw_code, hamlr_code, tmp_path, monkeypatch):
    """The page makes a family and a structure; its files are accepted as recipes and overrides of a dataset."""
    import ase.io

    from aiida_hamlr.workflows.dataset import DatasetWorkChain

    monkeypatch.chdir(tmp_path)
    text = (PAGE.parents[1] / 'tutorials/own_material.md').read_text()
    make, family = commands_of(text)[:2]
    assert CliRunner().invoke(hamlr, make[1:], catch_exceptions=False).exit_code == 0
    assert sorted(path.name for path in Path('pseudos').iterdir()) == ['B.upf', 'P.upf']
    result = CliRunner().invoke(cmd_root, family[1:], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    exec(re.search(r'python -c "(.*)"', text).group(1), {})  # noqa: S102 the page's own code
    atoms = ase.io.read('bp.cif')
    assert atoms.get_chemical_formula() == 'BP' and np.linalg.norm(atoms.cell[0]) == pytest.approx(4.54 / np.sqrt(2))
    files = {
        re.match(r'# (\S+)\n', block).group(1): yaml.safe_load(block)
        for block in re.findall(r'```yaml\n(.*?)```', text, re.DOTALL)
    }
    settings = files['settings.yaml']
    settings['reference']['scf']['pseudo_family'] = 'GTH-LDA'
    builder = DatasetWorkChain.get_builder_from_protocol(
        pw_code,
        hamlr_code,
        {'s0': orm.StructureData(ase=atoms)},
        recipes=files['recipes.yaml'],
        overrides=settings,
        protocol='fast',
    )
    assert find_problem(builder) is None
    assert builder.reference.scf.pw.parameters['SYSTEM']['ecutwfc'] == 60


@pytest.mark.usefixtures('aiida_profile')
def test_polar_slab(pw_code, hamlr_code, tmp_path, monkeypatch):
    """The slab of the page has four bonds at every Al and As, and the run with its keywords is supported."""
    import ase.io

    from aiida_hamlr.data.structures import structure_from_atoms
    from aiida_hamlr.data.upf import create_upf
    from aiida_hamlr.electronic.pseudo.gth import write_upf
    from aiida_hamlr.jobs.inputs import read_structure
    from aiida_hamlr.workflows.reference import ReferenceWorkChain

    monkeypatch.chdir(tmp_path)
    text = (PAGE.parents[1] / 'tutorials/polar_slab.md').read_text()
    exec(re.search(r'```python\n(.*?)```', text, re.DOTALL).group(1), {})  # noqa: S102 the page's own code
    slab = read_structure(Path('slab.extxyz'))
    assert list(slab.arrays['species_labels']) == ['As', 'Al', 'As', 'Al', 'H2', 'H1']
    bonds = ase.neighborlist.neighbor_list('i', slab, 2.6)
    assert np.bincount(bonds).tolist() == [4, 4, 4, 4, 1, 1]
    for charge, name in ((1.25, 'H1'), (0.75, 'H2')):
        write_upf(Path(f'{name}.upf'), 'H', charge)
    Path('pseudos').mkdir()
    for element in commands_of(text)[0][2:5]:
        write_upf(Path(f'pseudos/{element}.upf'), element)
    overrides = yaml.safe_load(re.search(r'```yaml\n(.*?)```', text, re.DOTALL).group(1))
    overrides['scf']['pseudo_family'] = create_pseudo_family('pseudos', 'capped', 40).label
    builder = ReferenceWorkChain.get_builder_from_protocol(
        pw_code,
        hamlr_code,
        structure_from_atoms(slab),
        overrides=overrides,
        pseudos={name: create_upf(f'{name}.upf') for name in ('H1', 'H2')},
    )
    assert find_problem(builder) is None
    assert builder.scf.pw.parameters['CONTROL']['dipfield'] is True


def test_exit_codes_of_the_executable():
    """The page on troubleshooting has each exit status of `hamlr`."""
    from aiida_hamlr.jobs.status import Status

    text = (PAGE.parent / 'troubleshooting.md').read_text()
    table = text.split('## The executable')[1].split('##')[0]
    assert set(re.findall(r'^\| (\d+) \|', table, re.MULTILINE)) == {*(str(int(status)) for status in Status), '130'}
