"""Files are written as a whole or not at all, also where there is no room for them."""

import errno
import json
import os
import resource
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest

from aiida_hamlr.electronic.files import atomic_hdf5, atomic_path
from aiida_hamlr.jobs.status import Status, status_of


@contextmanager
def largest_file(size):
    """Bound the size of files that this process writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write(path):
    with atomic_hdf5(path, 'test', 1) as handle:
        handle.attrs['text'] = 'x' * 3000
        for index in range(4):
            handle.create_group(f'group{index}').create_dataset('entries', data=np.arange(300.0))
        handle.create_dataset('text', data=np.zeros(20_000, dtype='u1'), compression='gzip')
        handle['labels'] = ['a', 'bb']


def test_hdf5_without_room_fails_in_order(tmp_path):
    """HDF5 itself crashes the process at some of these sizes."""
    path = tmp_path / 'a.h5'
    write(path)
    size, whole = path.stat().st_size, path.read_bytes()
    for limit in range(0, size, 211):
        with largest_file(limit), pytest.raises(OSError) as error:
            write(path)
        assert error.value.errno == errno.EFBIG
        assert status_of(error.value) is Status.DISK_FULL
        assert error.value.filename == str(path)
        assert os.listdir(tmp_path) == ['a.h5'] and path.read_bytes() == whole


FILL = """
import json, os, sys
from pathlib import Path
import numpy as np
from aiida_hamlr.electronic.files import atomic_hdf5
from aiida_hamlr.jobs.status import one_line, status_of
folder, results = Path(sys.argv[1]), []
for size in (1_000, 3_000_000):
    try:
        with atomic_hdf5(folder / f'{size}.h5', 'test', 1) as handle:
            handle['entries'] = np.random.default_rng(0).normal(size=size)
        results.append(0)
    except OSError as error:
        results.append([int(status_of(error)), one_line(error)])
print(json.dumps([results, sorted(os.listdir(folder))]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason='only root may mount')
def test_full_disk(tmp_path):
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', str(tmp_path)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip('a file system cannot be mounted here')
    try:
        told = subprocess.run([sys.executable, '-c', FILL, str(tmp_path)], capture_output=True, text=True)
    finally:
        subprocess.run(['umount', '--lazy', str(tmp_path)], check=True)
    assert told.returncode == 0, told.stderr
    results, left = json.loads(told.stdout)
    assert results == [0, [Status.DISK_FULL, f'{tmp_path}/3000000.h5: No space left on device']]
    assert left == ['1000.h5']


def test_failed_writes_leave_what_was_there(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_text('old')
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text('new')
        raise RuntimeError
    assert path.read_text() == 'old' and os.listdir(tmp_path) == ['a.txt']


def test_content_is_on_the_disk_before_its_name(tmp_path, monkeypatch):
    done = []
    synchronised, replaced = os.fsync, type(tmp_path).replace
    monkeypatch.setattr(
        os, 'fsync', lambda number: (done.append(os.readlink(f'/proc/self/fd/{number}')), synchronised(number))
    )
    monkeypatch.setattr(type(tmp_path), 'replace', lambda self, other: (done.append('rename'), replaced(self, other)))
    with atomic_path(tmp_path / 'a.txt') as temporary:
        temporary.write_text('new')
    assert done == [str(temporary), 'rename', str(tmp_path)]
