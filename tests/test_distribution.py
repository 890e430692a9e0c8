"""The tests of one file run in one process, and so do all on the cluster."""

import subprocess
import sys
from pathlib import Path

TESTS = """
import pytest

@pytest.mark.parametrize('number', range(4))
def test_in_a_process(number, worker_id):
    with open('workers.txt', 'a') as file:
        print({name!r}, worker_id, file=file)
"""


def test_files_stay_together(tmp_path):
    for name in ('one/test_first.py', 'cluster/test_second.py', 'cluster/test_third.py', 'two/test_fourth.py'):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(TESTS.format(name=path.parent.name))
    (tmp_path / 'pytest.ini').write_text(f'[pytest]\npythonpath = {Path(__file__).parent}\n')
    (tmp_path / 'conftest.py').write_text("pytest_plugins = ['distribution']\n")
    options = ['--import-mode=importlib', '--numprocesses=2', '--dist=loadfile']
    done = subprocess.run([sys.executable, '-m', 'pytest', *options], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    pairs = [line.split() for line in (tmp_path / 'workers.txt').read_text().splitlines()]
    assert len(pairs) == 16
    workers = {group: {worker for name, worker in pairs if name == group} for group in ('one', 'cluster', 'two')}
    assert [len(found) for found in workers.values()] == [1, 1, 1]
    assert set.union(*workers.values()) == {'gw0', 'gw1'}
