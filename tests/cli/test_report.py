"""`aiida-hamlr report`."""

import pytest
from aiida.cmdline.utils.echo import ExitCode

from aiida_hamlr.cli.report import cmd_report


def test_report(invoke, make_hamiltonian_node, structure, tmp_path, monkeypatch):
    """The page is written where it is wanted, or beside the user; a node without report is an error of one line."""
    pytest.importorskip('plotly')
    monkeypatch.chdir(tmp_path)
    node = make_hamiltonian_node(seed=90)
    assert invoke(cmd_report, node.pk, '-o', 'page.html').exit_code == 0
    assert invoke(cmd_report, node.pk).exit_code == 0
    assert (tmp_path / 'page.html').stat().st_size == (tmp_path / f'report-{node.pk}.html').stat().st_size
    result = invoke(cmd_report, structure.pk)
    assert result.exit_code == ExitCode.CRITICAL and 'has no report' in ' '.join(result.output.split())
