"""Tests of the parser of reconstructions; it stands for what all parsers of the executable share."""

import json
import logging
import re
from dataclasses import replace

import numpy as np
import pytest
from aiida.common.links import LinkType
from aiida.orm.nodes.data.array.bands import find_bandgap
from aiida.plugins import CalculationFactory

from aiida_hamlr.calculations.base import ReadsAnyOutput
from aiida_hamlr.electronic.bands.calculation import PropertyOptions, compute_properties
from aiida_hamlr.electronic.orbitals.basis import Basis

CODES = CalculationFactory('hamlr.reconstruct').exit_codes
STATUS, STDERR = 'hamlr.status', '_scheduler-stderr.txt'
SUMMARY = json.dumps({'command': 'reconstruct', 'band_mae_occupied_meV': 60.0})


def test_done(parse, make_hamiltonian, zincblende, tmp_path):
    """A finished job gives the node and the summary, from the retrieved files alone."""
    make_hamiltonian(zincblende()).write(tmp_path / 'hamiltonian.h5')
    results, node = parse('hamlr.reconstruct', {STATUS: '0\n', 'summary.json': SUMMARY})
    assert node.is_finished_ok, node.exit_message
    assert results['hamiltonian'].base.attributes.get('n_orbitals') == 8
    assert results['output_parameters'].get_dict()['band_mae_occupied_meV'] == 60.0


def _compute(folder, hamiltonian, *outputs):
    found = compute_properties(hamiltonian, outputs, PropertyOptions(kpoints=(4, 4, 4), spacing=0.3))
    found.bands.write(folder / 'bands.h5')
    found.properties.write(folder / 'properties.h5')
    return found


def test_properties(parse, make_hamiltonian, zincblende, tmp_path):
    """They are nodes with the names of aiida-quantumespresso, and the gap is that which AiiDA finds."""
    hamiltonian = make_hamiltonian(zincblende())
    hamiltonian.write(tmp_path / 'hamiltonian.h5')
    found = _compute(tmp_path, hamiltonian, 'bands', 'dos', 'projections', 'profile')
    summary = json.dumps({'command': 'reconstruct', 'n_atoms': 2, **found.scalars})
    results, node = parse('hamlr.reconstruct', {STATUS: '0', 'summary.json': summary})
    assert node.is_finished_ok, node.exit_message
    parameters = results['output_parameters'].get_dict()
    insulator, gap = find_bandgap(results['band_structure'], number_electrons=8)
    assert insulator and gap == pytest.approx(parameters['gap_eV'], abs=1e-9)
    assert parameters['fermi_energy'] == results['band_structure'].base.attributes.get('fermi_energy')
    assert (parameters['fermi_energy_units'], parameters['number_of_electrons']) == ('eV', 8)
    (energies, _), columns = results['dos']['output_dos'].get_x()[1:], results['dos']['output_dos'].get_y()
    (states,) = (values for name, values, _ in columns if name == 'integrated_dos')
    assert states[energies < parameters['fermi_energy']][-1] == pytest.approx(8, abs=1e-6)
    assert len(results['projwfc']['projections'].get_orbitals()) == 8
    assert results['arrays'].get_array('levels').shape == (2,)


def test_properties_of_another_structure(parse, make_hamiltonian, zincblende, tmp_path):
    """They are refused; the Hamiltonian is there all the same."""
    make_hamiltonian(zincblende()).write(tmp_path / 'hamiltonian.h5')
    _compute(tmp_path, make_hamiltonian(zincblende(cubic=True)), 'bands', 'dos')
    results, node = parse('hamlr.reconstruct', {STATUS: '0', 'summary.json': SUMMARY})
    assert node.exit_status == CODES.ERROR_OUTPUT_FILE_READ.status
    assert 'properties.h5: of another structure' in node.exit_message
    assert 'hamiltonian' in results and 'dos' not in results


@pytest.mark.parametrize(
    ('status', 'label'),
    [
        (2, 'ERROR_BAD_INPUT'),
        (3, 'ERROR_OUT_OF_WALLTIME'),
        (4, 'ERROR_NUMERICAL'),
        (5, 'ERROR_OUT_OF_MEMORY'),
        (6, 'ERROR_NO_GPU'),
        (7, 'ERROR_DISK_FULL'),
        (137, 'ERROR_KILLED'),
        (143, 'ERROR_KILLED'),
        (1, 'ERROR_EXECUTABLE_FAILED'),
    ],
)
def test_statuses(parse, status, label):
    """Every exit status of the executable has its exit code, which repeats the executable's words."""
    _, node = parse('hamlr.reconstruct', {STATUS: f'{status}\n', STDERR: 'hamlr: Al.upf: ultrasoft\n'})
    assert node.exit_status == CODES[label].status
    assert 'hamlr: Al.upf: ultrasoft' in node.exit_message


def test_scheduler_knows_better(parse):
    """A job that the scheduler ended keeps the code of the scheduler."""
    _, node = parse('hamlr.reconstruct', {STDERR: ''}, exit_status=120)
    assert (node.exit_status, node.exit_message) == (120, 'said the scheduler')


def test_scheduler_knows_why_it_was_killed(parse):
    """The status of a signal says less than the scheduler, and less than what SLURM writes about memory."""
    _, node = parse('hamlr.reconstruct', {STATUS: '143', STDERR: ''}, exit_status=120)
    assert node.exit_status == 120
    words = 'slurmstepd: error: Detected 1 oom_kill event in StepId=7.batch.'
    _, node = parse('hamlr.reconstruct', {STATUS: '137', STDERR: words})
    assert node.exit_status == CODES.ERROR_OUT_OF_MEMORY.status


def test_disk_without_place_for_the_status(parse):
    """The shell may say it, if the executable cannot."""
    words = '/bin/bash: line 9: hamlr.status: No space left on device'
    _, node = parse('hamlr.reconstruct', {STATUS: '', STDERR: words})
    assert node.exit_status == CODES.ERROR_DISK_FULL.status
    assert 'No space left' in node.exit_message


def test_disk_without_place_for_a_message(parse):
    """The shell makes the file of the status before it finds no room for the status, and none for its message."""
    _, node = parse('hamlr.reconstruct', {STATUS: '', STDERR: ''})
    assert node.exit_status == CODES.ERROR_DISK_FULL.status
    assert 'there was no room for a message' in node.exit_message


def test_killed_without_a_word(parse):
    """A job that left nothing failed."""
    _, node = parse('hamlr.reconstruct', {})
    assert node.exit_status == CODES.ERROR_KILLED.status


def test_output_missing(parse):
    """A job that claims to be done, but left no file."""
    _, node = parse('hamlr.reconstruct', {STATUS: '0', 'summary.json': SUMMARY})
    assert node.exit_status == CODES.ERROR_OUTPUT_FILE_MISSING.status
    assert 'hamiltonian.h5' in node.exit_message


def test_output_damaged(parse, make_hamiltonian, zincblende, tmp_path):
    """A truncated file makes no node."""
    path = tmp_path / 'hamiltonian.h5'
    make_hamiltonian(zincblende()).write(path)
    path.write_bytes(path.read_bytes()[:1000])
    results, node = parse('hamlr.reconstruct', {STATUS: '0', 'summary.json': SUMMARY})
    assert node.exit_status == CODES.ERROR_OUTPUT_FILE_READ.status
    assert 'hamiltonian' not in results


@pytest.mark.parametrize(
    ('files', 'label'), [({}, 'ERROR_OUTPUT_FILE_MISSING'), ({'summary.json': '{'}, 'ERROR_OUTPUT_SUMMARY')]
)
def test_summary_problems(parse, make_hamiltonian, zincblende, tmp_path, files, label):
    """Without a readable summary the job failed."""
    make_hamiltonian(zincblende()).write(tmp_path / 'hamiltonian.h5')
    _, node = parse('hamlr.reconstruct', {STATUS: '0', **files})
    assert node.exit_status == CODES[label].status


def test_no_temporary_folder(parse):
    """The parser needs the temporary folder, and says so."""
    _, node = parse('hamlr.reconstruct', {STATUS: '0'}, folder=None)
    assert node.exit_status == CODES.ERROR_NO_RETRIEVED_TEMPORARY_FOLDER.status


HOSTILE = {
    'status of other digits': ({STATUS: '²'}, 'ERROR_KILLED'),
    'status with many digits': ({STATUS: '9' * 5000}, 'ERROR_KILLED'),
    'status and more': ({STATUS: '0 0'}, 'ERROR_KILLED'),
    'status not UTF-8': ({STATUS: b'\xff0'}, 'ERROR_KILLED'),
    'stderr not UTF-8': ({STATUS: '2', STDERR: b'hamlr: \xff\xfe bad'}, 'ERROR_BAD_INPUT'),
    'summary not UTF-8': ({STATUS: '0', 'summary.json': b'{"a": "\xff"}'}, 'ERROR_OUTPUT_FILE_MISSING'),
    'summary deep': ({STATUS: '0', 'summary.json': '[' * 100000}, 'ERROR_OUTPUT_SUMMARY'),
    'summary deep, but complete': (
        {STATUS: '0', 'summary.json': '{"a":' * 99 + '1' + '}' * 99},
        'ERROR_OUTPUT_SUMMARY',
    ),
    'summary with endless digits': ({STATUS: '0', 'summary.json': '{"a": ' + '9' * 5000 + '}'}, 'ERROR_OUTPUT_SUMMARY'),
    'summary with odd text': ({STATUS: '0', 'summary.json': r'{"a": "\u0000\ud800", "b": 1e999}'}, None),
}


@pytest.mark.parametrize('name', HOSTILE)
def test_whatever_was_retrieved_has_an_exit_code(parse, make_hamiltonian, zincblende, tmp_path, name):
    """No content of the small files leaves a process excepted."""
    files, label = HOSTILE[name]
    if label is None:
        make_hamiltonian(zincblende()).write(tmp_path / 'hamiltonian.h5')
    results, node = parse('hamlr.reconstruct', files)
    assert node.exit_status == (0 if label is None else CODES[label].status), node.exit_message
    for output in results.values():
        output.store()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            lambda hamiltonian: {'attributes': replace(hamiltonian.attributes, origin='predicted')},
            "'predicted' instead",
        ),
        (lambda hamiltonian: {'atoms': moved(hamiltonian.atoms, 0.1)}, 'another structure .* atom 1 .* 0.1 Å away'),
        (lambda hamiltonian: {'attributes': replace(hamiltonian.attributes, gap=float('nan'))}, 'gap is nan'),
    ],
)
def test_hamiltonians_of_another_job_are_refused(
    parse, make_hamiltonian, zincblende, tmp_path, basis_node, change, message
):
    """A file that the job cannot have made makes no node."""
    from aiida import orm

    hamiltonian = make_hamiltonian(zincblende())
    run = orm.CalcJobNode(
        computer=orm.load_computer('localhost'), process_type='aiida.calculations:core.arithmetic.add'
    )
    structure = orm.StructureData(ase=zincblende()).store()
    run.base.links.add_incoming(structure, link_type=LinkType.INPUT_CALC, link_label='structure')
    run.store()
    folder = orm.RemoteData(remote_path='/remote', computer=run.computer)
    folder.base.links.add_incoming(run, link_type=LinkType.CREATE, link_label='remote_folder')
    inputs = {'basis': basis_node, 'parent_folder': folder.store()}
    hamiltonian.write(tmp_path / 'hamiltonian.h5')
    _, node = parse('hamlr.reconstruct', {STATUS: '0', 'summary.json': SUMMARY}, inputs=inputs)
    assert node.is_finished_ok, node.exit_message
    replace(hamiltonian, **change(hamiltonian)).write(tmp_path / 'hamiltonian.h5')
    results, node = parse('hamlr.reconstruct', {STATUS: '0', 'summary.json': SUMMARY}, inputs=inputs)
    assert node.exit_status == CODES.ERROR_OUTPUT_FILE_READ.status
    assert re.search(message, node.exit_message), node.exit_message
    assert 'hamiltonian' not in results


def test_orbitals_of_another_job_are_refused(parse, make_hamiltonian, zincblende, tmp_path, basis_node):
    """The same structure and shells, but one radial function differs: the hash of the basis gives it away."""
    hamiltonian = make_hamiltonian(zincblende())
    hamiltonian.write(tmp_path / 'hamiltonian.h5')
    files = {STATUS: '0', 'summary.json': SUMMARY}
    _, node = parse('hamlr.reconstruct', files, inputs={'basis': basis_node})
    assert node.is_finished_ok, node.exit_message
    species = hamiltonian.basis['As']
    first, *others = species.shells
    radial = first.radial * np.linspace(1.0, 0.9, len(first.radial))
    radial /= np.sqrt(np.sum((radial * species.step * np.arange(len(radial))) ** 2) * species.step)
    other = replace(species, shells=(replace(first, radial=radial), *others))
    basis = Basis({**hamiltonian.basis, 'As': other})
    replace(hamiltonian, basis=basis).write(tmp_path / 'hamiltonian.h5')
    results, node = parse('hamlr.reconstruct', files, inputs={'basis': basis_node})
    assert node.exit_status == CODES.ERROR_OUTPUT_FILE_READ.status
    assert 'orbitals of As are not those that the job had' in node.exit_message
    assert 'hamiltonian' not in results


def moved(atoms, length):
    """Return a structure whose second atom is elsewhere."""
    atoms = atoms.copy()
    atoms.positions[1, 2] += length
    return atoms


@pytest.mark.parametrize('scheduler', ['core.slurm', 'core.direct'])
def test_scheduler_output_that_is_not_text(parse, make_process_node, scheduler):
    """AiiDA itself raises on such bytes; the jobs of this package read them with marks."""
    from types import SimpleNamespace

    from aiida.plugins import SchedulerFactory

    node = make_process_node('hamlr.reconstruct', {STATUS: '0', STDERR: b'\xff\xfe', '_scheduler-stdout.txt': b'\xff'})
    retrieved = node.outputs.retrieved
    options = {'scheduler_stderr': STDERR, 'scheduler_stdout': '_scheduler-stdout.txt'}
    computer = SimpleNamespace(get_scheduler=SchedulerFactory(scheduler))
    job = SimpleNamespace(computer=computer, get_option=options.get, get_detailed_job_info=lambda: None)
    process = CalculationFactory('hamlr.reconstruct').__new__(CalculationFactory('hamlr.reconstruct'))
    process._node = job
    process._logger = logging.getLogger('test')
    with pytest.raises(UnicodeDecodeError):
        super(ReadsAnyOutput, process).parse_scheduler_output(retrieved)
    assert process.parse_scheduler_output(retrieved) is None
