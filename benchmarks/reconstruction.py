"""Benchmarks of reference Hamiltonians: bands, scaling, comparison with another code, elements.

Prints one JSON object on standard output, progress on standard error. The exit status is 1 if a gate is failed.
Run it with OMP_NUM_THREADS=1 where seconds matter; pw.x always runs on one core.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import click
from _bands import CASES, SIZES

from aiida_hamlr import __version__

PARTS = ('bands', 'scaling', 'hpro', 'elements')


def run_part(part: str, structures, sizes, workdir: Path) -> dict:
    """Result of one part; what a part needs is imported only for it."""
    if part == 'bands':
        from _bands import measure

        return measure(structures, sizes, workdir)
    if part == 'scaling':
        from _scaling import measure

        return measure()
    if part == 'hpro':
        from _hpro import measure

        return measure(workdir / 'hpro')
    script = Path(__file__).with_name('pseudopotential_table.py')
    done = subprocess.run([sys.executable, script, workdir], stdout=subprocess.PIPE, text=True, check=False)
    if not done.stdout:
        raise click.ClickException(f'{script.name} failed with exit status {done.returncode}')
    return json.loads(done.stdout) | {'passed': done.returncode == 0}


@click.command(context_settings={'help_option_names': ['-h', '--help'], 'show_default': True}, help=__doc__)
@click.argument('part', type=click.Choice([*PARTS, 'all']), default='all')
@click.option(
    '--structures',
    '-s',
    type=click.Choice(list(CASES)),
    multiple=True,
    help='Structure of the part "bands"; may be repeated. Default: all of them.',
)
@click.option(
    '--sizes',
    type=click.Choice(SIZES),
    multiple=True,
    default=SIZES,
    help='Size of the basis of the part "bands"; may be repeated.',
)
@click.option(
    '--workdir',
    type=click.Path(path_type=Path, file_okay=False),
    default=Path('.benchmarks'),
    help='Folder where pw.x runs and downloads are kept; a second call reuses them.',
)
def main(part, structures, sizes, workdir):
    """Command line."""
    workdir = workdir.resolve()
    workdir.mkdir(parents=True, exist_ok=True)
    result = {'code': f'aiida-hamlr {__version__}', 'date': datetime.now(timezone.utc).date().isoformat()}
    for name in PARTS if part == 'all' else [part]:
        result[name] = run_part(name, structures or list(CASES), sizes, workdir)
    click.echo(json.dumps(result, indent=1))
    raise SystemExit(0 if all(result[name].get('passed', True) for name in PARTS if name in result) else 1)


if __name__ == '__main__':
    main()
