"""`verdi data hamlr export` and `import`: Hamiltonian nodes from and to the formats of other programs."""

from __future__ import annotations

from pathlib import Path

import click

from aiida_hamlr.cli import types
from aiida_hamlr.cli.lazy import echo, with_dbenv
from aiida_hamlr.jobs.cli_exchange import (
    ECUTRHO_OPTION,
    ELECTRONS_OPTION,
    FORMATS,
    FRAME_OPTION,
    IMPORT_FORMAT_OPTION,
    SHELLS_OPTION,
)

__all__ = ('EXPORT_FORMAT', 'NATIVE', 'cmd_export', 'cmd_import', 'write_foreign')

#: Format of the Hamiltonian file itself.
NATIVE = 'hamlr'

#: Files beside the named one that belong to it: the matrices, and the shells of an export.
_BESIDE = {'cp2k': '*.csr', 'sisl': 'orbitals.json'}

#: Format of an export.
EXPORT_FORMAT = click.option(
    '--format',
    'format_name',
    type=click.Choice((NATIVE, *FORMATS)),
    default=NATIVE,
    show_default=True,
    help='hamlr: the files of the nodes; deepx and deeph: DeepH, its present and its first layout; sisl: SIESTA, sisl '
    'and TBtrans.',
)


@click.command('export', epilog='Example: verdi data hamlr export 1234 --format deepx -o for_deeph')
@click.argument('nodes', nargs=-1, required=True, type=types.NodeType('hamlr.hamiltonian'))
@EXPORT_FORMAT
@click.option(
    '-o',
    '--output',
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help='Folder for the files; of several nodes each gets a subfolder, named after its PK.',
)
@with_dbenv()
def cmd_export(nodes, format_name, output):
    """Write the Hamiltonians of NODES in the format of another program, or as hamiltonian.h5."""
    try:
        if format_name == NATIVE:
            for node in nodes:
                folder = output / str(node.pk) if len(nodes) > 1 else output
                folder.mkdir(parents=True, exist_ok=True)
                node.export(folder / node.FILENAME)
        else:
            write_foreign(nodes, format_name, output)
    except (ValueError, OSError) as error:
        echo.echo_critical(str(error))
    echo.echo_success(f'wrote {", ".join(str(node.pk) for node in nodes)} to {output}')


def write_foreign(nodes, format_name: str, output: Path):
    """Write Hamiltonian nodes in the format of another program, and report what it does not hold.

    :raises ValueError: if the format cannot hold a Hamiltonian.
    """
    from aiida_hamlr.jobs.export import export_hamiltonians

    names = [str(node.pk) for node in nodes]
    lost = export_hamiltonians([node.open() for node in nodes], names, format_name, output)['not_carried']
    if lost:
        echo.echo_report(f'not carried by {format_name}: {", ".join(lost)}')


@click.command('import', epilog='Example: verdi data hamlr import deeph_data/0 --format deepx -B 1200 -F gth-lda')
@click.argument('source', type=click.Path(exists=True, path_type=Path))
@IMPORT_FORMAT_OPTION
@click.option('-B', '--basis', type=types.NodeType('hamlr.basis'), help='Orbitals of all elements.')
@click.option(
    '-F', '--pseudo-family', type=types.FAMILY, help='Pseudopotentials of all elements, to add H0; needs --basis.'
)
@ECUTRHO_OPTION
@SHELLS_OPTION
@FRAME_OPTION
@ELECTRONS_OPTION
@with_dbenv()
def cmd_import(source, format_name, basis, pseudo_family, ecutrho, shells, frame, electrons):
    """Store SOURCE, a file or folder of another program, and the Hamiltonian that it holds.

    The files become a node too, the input of the calculation function that reads them. With --basis and --pseudo-family
    a model can be trained on the Hamiltonian.
    """
    from aiida.engine import run_get_node
    from aiida.orm import Dict

    from aiida_hamlr.calculations.functions.import_ import import_hamiltonian
    from aiida_hamlr.data.upf import load_family
    from aiida_hamlr.jobs.import_ import describe_electrons, parse_shell_options

    try:
        parameters = {'format': format_name, 'shells': parse_shell_options(shells), 'frame': frame}
        parameters['n_electrons'] = electrons
        node, name = _source_node(source, format_name)
        inputs = {'source': node}
        if basis is not None:
            inputs['basis'] = basis
        if pseudo_family:
            if basis is None:
                raise ValueError('--pseudo-family needs --basis: H0 is made of both')
            inputs |= load_family(pseudo_family).get_pseudos(elements=basis.elements)
            parameters['ecutrho'] = ecutrho
    except ValueError as error:
        echo.echo_critical(str(error))
    parameters['file'] = name
    inputs['parameters'] = Dict({key: value for key, value in parameters.items() if value is not None})
    result, process = run_get_node(import_hamiltonian, **inputs)
    if not process.is_finished_ok:
        echo.echo_critical(process.exit_message)
    echo.echo_success(f'stored {type(result).__name__}<{result.pk}>, made by {process.process_label}<{process.pk}>')
    for warning in describe_electrons(result.base.attributes.get('n_electrons', None)):
        echo.echo_warning(warning)


def _source_node(source: Path, format_name: str):
    """Return a node with the files, and the name of the file to read if it is one of several."""
    from aiida.orm import FolderData, SinglefileData

    if source.is_dir():
        return FolderData(tree=str(source.absolute())), None
    others = sorted(source.parent.glob(_BESIDE[format_name])) if format_name in _BESIDE else []
    if not others:
        return SinglefileData(source.absolute()), None
    node = FolderData()
    for path in (source, *others):
        node.base.repository.put_object_from_file(str(path.absolute()), path.name)
    return node, source.name
