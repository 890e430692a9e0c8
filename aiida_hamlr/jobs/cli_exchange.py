"""Commands of `hamlr` that exchange data with other programs."""

from __future__ import annotations

import click

from aiida_hamlr.jobs.cli_options import FILE, POSITIVE

#: Formats of `aiida_hamlr.io.exchange`, which is not loaded for a help text.
FORMATS = ('deepx', 'deeph', 'deeptb', 'sisl', 'cp2k', 'wannier90', 'hamgnn')

#: Those that can be read.
READABLE = FORMATS[:5]

_HELP = 'deepx and deeph: DeepH, its present and its first layout; sisl: SIESTA, sisl and TBtrans.'

IMPORT_FORMAT_OPTION = click.option(
    '--format',
    'format_name',
    type=click.Choice(READABLE),
    required=True,
    help=f'{_HELP} wannier90 and hamgnn are only written.',
)

ECUTRHO_OPTION = click.option(
    '--ecutrho',
    type=POSITIVE,
    default=160.0,
    show_default=True,
    help='Cutoff of the grid of H0, Ry.',
)

SHELLS_OPTION = click.option(
    '--shells',
    multiple=True,
    metavar='El=2s2p1d',
    help='Shells of an element, for deeptb and sisl where the files do not say them.',
)

FRAME_OPTION = click.option(
    '--frame', type=click.IntRange(0), help='Which structure, from 0, of data of DeePTB.  [default: the first]'
)

ELECTRONS_OPTION = click.option(
    '--electrons',
    type=POSITIVE,
    help='Valence electrons per cell, for gap, Fermi level and charges.  [default: those of the files, or else of the '
    'pseudopotentials]',
)


@click.command('export', epilog='Example: hamlr export hamiltonian.h5 --format deepx -o for_deeph')
@click.argument('hamiltonians', type=FILE, nargs=-1, required=True)
@click.option('--format', 'format_name', type=click.Choice(FORMATS), required=True, help=_HELP)
@click.option('-o', '--output', type=FILE, required=True, help='Folder for the files; a subfolder for each of several.')
def export_command(hamiltonians, format_name, output):
    """Write HAMILTONIANS in the format of DeepH, DeePTB, sisl, CP2K, Wannier90 or HamGNN."""
    from aiida_hamlr.jobs.export import run_export

    run_export(hamiltonians, format_name, output)


@click.command('import', epilog='Example: hamlr import deeph_data/0 --format deepx -o hamiltonian.h5')
@click.argument('source', type=FILE)
@IMPORT_FORMAT_OPTION
@click.option('--basis', 'basis_folder', type=FILE, help='Folder with El.basis.h5 of every species.')
@click.option('--pseudos', 'pseudo_folder', type=FILE, help='Folder with a UPF file of every species; adds H0.')
@ECUTRHO_OPTION
@click.option('--structure', type=FILE, help='Cell and positions with all digits, and species.')
@SHELLS_OPTION
@FRAME_OPTION
@ELECTRONS_OPTION
@click.option('-o', '--output', type=FILE, required=True, help='Hamiltonian file, as in hamiltonian.h5.')
def import_command(source, format_name, output, shells, frame, electrons, ecutrho, **folders):
    """Make a Hamiltonian file from SOURCE, a file or folder of DeepH, DeePTB, sisl or CP2K.

    With --basis and --pseudos a model can be trained on it.
    """
    from aiida_hamlr.jobs.import_ import ImportFiles, ImportSettings, parse_shell_options, run_import

    files = ImportFiles(shells=parse_shell_options(shells), frame=frame, **folders)
    run_import(source, format_name, output, files, ImportSettings(ecutrho=ecutrho, n_electrons=electrons))
