"""Progress in a log, and the costs that every summary holds."""

import json

import numpy as np
import pytest

from aiida_hamlr.jobs import progress
from aiida_hamlr.jobs.outputs import summary_path
from aiida_hamlr.jobs.summary import JobSummary


def test_log_lines_come_at_intervals(monkeypatch, capsys):
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(progress.time, 'perf_counter', lambda: float(next(clock)))
    assert list(progress.track(range(7), 'structures')) == list(range(7))
    told = capsys.readouterr()
    assert told.err == ''
    # The clock moves by 4 s each time it is read, so that 10 s have passed after every third structure.
    assert told.out.splitlines() == ['structures: 3 of 7', 'structures: 6 of 7']


def test_summary_is_plain_json_with_costs(tmp_path):
    summary = JobSummary('test')
    summary |= {'gap_eV': np.float64(1.5), 'grid': np.array([1, 2, 3]), 'path': tmp_path}
    summary.write(tmp_path / 'out/summary.json')
    content = json.loads((tmp_path / 'out/summary.json').read_text())
    assert content['gap_eV'] == 1.5
    assert content['grid'] == [1, 2, 3]
    assert content['wall_s'] >= 0
    assert content['cpu_s'] >= 0
    assert content['peak_memory_MB'] > 10
    assert content['versions']['numpy'] == np.__version__


def test_failing_summary_leaves_nothing(tmp_path):
    summary = JobSummary('test')
    summary['loop'] = summary
    with pytest.raises(ValueError, match='Circular'):
        summary.write(tmp_path / 'summary.json')
    assert not list(tmp_path.iterdir())


def test_summary_lies_beside_the_output(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert summary_path('bands.h5') == tmp_path.resolve() / 'summary.json'
    assert summary_path('out/bands.h5') == tmp_path.resolve() / 'out/summary.json'
