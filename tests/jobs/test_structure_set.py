"""Names, digests and batches of the structures of a prediction."""

import ase.io
import numpy as np
import pytest
from ase.build import bulk

from aiida_hamlr.jobs.config import validate
from aiida_hamlr.jobs.schemas import PredictConfig
from aiida_hamlr.jobs.structure_set import InputsDigest, Job, batches_by_size, collect_structures


@pytest.fixture
def make_config(tmp_path):
    (tmp_path / 'model').mkdir()
    ase.io.write(tmp_path / 'a.extxyz', bulk('AlAs', 'zincblende', a=5.66))

    def make(**settings):
        content = {'model': 'model', 'structures': ['a.extxyz'], **settings}
        return validate(PredictConfig, content, 'test', tmp_path)

    return make


def test_digest_depends_on_every_input(make_config, tmp_path):
    """Another bit of the structure, another setting, another model; where results go does not matter."""
    atoms = bulk('AlAs', 'zincblende', a=5.66)
    moved, strained, other, slab = (atoms.copy() for _ in range(4))
    moved.positions[1, 2] = np.nextafter(moved.positions[1, 2], 9.0)
    strained.cell[0, 1] = np.nextafter(strained.cell[0, 1], 9.0)
    other.symbols[0] = 'Ga'
    slab.pbc = (True, True, False)
    digest = InputsDigest(make_config(), 'one')
    found = [digest(each) for each in (atoms, moved, strained, other, slab)]
    (tmp_path / 'path.txt').write_text('GAMMA 0 0 0\nX 0.5 0 0.5\n')
    for settings in ({'outputs': ['gap']}, {'kpoints_distance': 0.3}, {'n_bands': 5}, {'path': 'path.txt'}):
        found.append(InputsDigest(make_config(**settings), 'one')(atoms))
    (tmp_path / 'path.txt').write_text('GAMMA 0 0 0\nX 0.5 0 0.4\n')
    found.append(InputsDigest(make_config(path='path.txt'), 'one')(atoms))
    found.append(InputsDigest(make_config(), 'two')(atoms))
    assert len(set(found)) == len(found)
    same = make_config(output='elsewhere', device='cpu', batch_atoms=7, outputs=['bands', 'hamiltonian'])
    assert InputsDigest(same, 'one')(atoms) == found[0]


def test_batches_hold_similar_sizes():
    atoms = bulk('AlAs', 'zincblende', a=5.66)
    jobs = [Job(str(n), '', atoms.repeat((n, 1, 1))) for n in (3, 1, 9, 1, 2)]
    batches = list(batches_by_size(jobs, 8))
    assert [[len(job.atoms) for job in batch] for batch in batches] == [[2, 2, 4], [6], [18]]
    assert sorted(job.name for batch in batches for job in batch) == sorted(job.name for job in jobs)


def test_file_that_cannot_be_read_is_one_failed_structure(tmp_path):
    ase.io.write(tmp_path / 'good.extxyz', [bulk('AlAs', 'zincblende', a=5.66)] * 2)
    (tmp_path / 'bad.extxyz').write_text('3\nno structure\n')
    jobs = collect_structures([tmp_path / 'good.extxyz', tmp_path / 'bad.extxyz'])
    assert [(job.name, job.error is None) for job in jobs] == [('good_0', True), ('good_1', True), ('bad', False)]
    assert 'bad.extxyz' in str(jobs[2].error)
    with pytest.raises(ValueError, match=r'labels: 4 are given for 3 structures \(.*bad\.extxyz: cannot be read'):
        collect_structures([tmp_path / 'good.extxyz', tmp_path / 'bad.extxyz'], list('abcd'))
