"""Tests of the parser of reconstructions; it stands for what all parsers of the executable share."""

import json

import pytest
from aiida.plugins import CalculationFactory

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
