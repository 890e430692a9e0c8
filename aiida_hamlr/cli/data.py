"""`verdi data hamlr`: list, show, draw and exchange nodes."""

import click
from aiida.cmdline.commands.cmd_data import verdi_data
from aiida.cmdline.params import types
from aiida.cmdline.utils import decorators, echo

from aiida_hamlr.cli.exchange import cmd_export, cmd_import
from aiida_hamlr.cli.nodes import COLUMNS, FIGURE, LIMIT, list_nodes, one_line, short, show_node
from aiida_hamlr.cli.types import FIGURE_FILE

__all__ = ('cmd_hamlr',)


@verdi_data.group('hamlr')
def cmd_hamlr():
    """Bases, Hamiltonians, datasets and models of aiida-hamlr."""


cmd_hamlr.add_command(cmd_export)
cmd_hamlr.add_command(cmd_import)


@cmd_hamlr.command('list')
@click.argument('kind', type=click.Choice(list(COLUMNS)), default='hamiltonian')
@LIMIT
@decorators.with_dbenv()
def cmd_list(kind, limit):
    """List the nodes of a KIND: hamiltonian, basis, dataset or model. Example: verdi data hamlr list model."""
    list_nodes(kind, limit)


@cmd_hamlr.command('show')
@click.argument('node', type=types.NodeParamType())
@decorators.with_dbenv()
@one_line
def cmd_show(node):
    """Show the attributes of NODE and the process that created it. Example: verdi data hamlr show 1234."""
    show_node(node)


@cmd_hamlr.command('bands')
@click.argument('node', type=types.NodeParamType())
@FIGURE
@decorators.with_dbenv()
@one_line
def cmd_bands(node, output, window, zero, title):
    """Show the band edges of NODE, a Hamiltonian or bands along a path, and draw its bands with `-o`.

    Example: verdi data hamlr bands 1234 -o bands.pdf --window -5 5
    """
    from aiida_hamlr.electronic.bands.band_structure import band_structure
    from aiida_hamlr.electronic.matrices.hamiltonian import OF_STATES
    from aiida_hamlr.jobs.bands import edges_in_words
    from aiida_hamlr.plotting.bands import plot_bands

    vacuum = node.base.attributes.get('vacuum_level', None)
    if node.node_type.startswith('data.hamlr.hamiltonian.'):
        bands = band_structure(node.open(OF_STATES))
    elif node.node_type.startswith('data.core.array.bands.'):
        from aiida_hamlr.data.electronic_structure import read_bands

        bands = read_bands(node)
    else:
        raise ValueError(f'{type(node).__name__}<{node.pk}> is neither a Hamiltonian nor bands (BandsData)')
    known = bands.attributes.fermi_level is not None or bands.attributes.gap
    echo.echo(edges_in_words(bands.attributes) if known else 'neither Fermi level nor gap are recorded')
    if output:
        echo.echo_success(f'wrote {plot_bands([bands], output, None, window, title, zero, [vacuum])}')


@cmd_hamlr.command('dos')
@click.argument(
    'node', type=types.DataParamType(sub_classes=('aiida.data:hamlr.hamiltonian', 'aiida.data:core.array.xy'))
)
@click.option('--mesh', type=(int, int, int), help='k-points; by default 0.25 1/Å apart.')
@FIGURE
@decorators.with_dbenv()
@one_line
def cmd_dos(node, mesh, output, window, zero, title):
    """Draw the density of states of NODE: a Hamiltonian, or the output `dos.output_dos` of a reference or a prediction.

    Example: verdi data hamlr dos 1234 -o dos.svg --mesh 6 6 6
    """
    from aiida_hamlr.cli.hamiltonian import draw_dos
    from aiida_hamlr.data.electronic_structure import read_dos
    from aiida_hamlr.plotting.properties import plot_dos

    output = output or f'dos-{node.pk}.png'
    if node.node_type.startswith('data.hamlr.'):
        written = draw_dos({'': node}, output, window, zero, mesh)
    else:
        written = plot_dos(read_dos(node), output, window=window, zero=zero)
    echo.echo_success(f'wrote {written}')


@cmd_hamlr.command('plot-basis')
@click.argument('node', type=types.DataParamType(sub_classes=('aiida.data:hamlr.basis',)))
@click.option('-o', '--output', type=FIGURE_FILE, required=True, help='PNG, SVG or PDF file.')
@click.option(
    '-F', '--pseudo-family', help='Pseudopotentials to use for imported orbitals; generated orbitals have their own.'
)
@decorators.with_dbenv()
def cmd_plot_basis(node, output, pseudo_family):
    """Draw the bands of a simple crystal in plane waves and in the orbitals of NODE.

    Example: verdi data hamlr plot-basis 1234 -o basis.png
    """
    from aiida_hamlr.data.upf import load_family

    try:
        pseudos = load_family(pseudo_family).get_pseudos(elements=node.elements) if pseudo_family else None
        echo.echo_success(f'wrote {node.plot(output, pseudos)}')
    except ValueError as error:
        echo.echo_critical(str(error))


@cmd_hamlr.command('curve')
@click.argument('process', type=types.ProcessParamType())
@click.option(
    '-l', '--limit', type=click.IntRange(min=1), default=10, show_default=True, help='Number of last epochs to show.'
)
@click.option('-o', '--output', type=FIGURE_FILE, help='Also draw the whole curve into this file (PNG, SVG or PDF).')
@decorators.with_dbenv()
def cmd_curve(process, limit, output):
    """Show the learning curve of a training, finished or running.

    PROCESS is the job, or the work chain that started it. Example: verdi data hamlr curve 1234 -o curve.svg
    """
    from tabulate import tabulate

    from aiida_hamlr.monitors.learning_curve import read_learning_curve
    from aiida_hamlr.plotting.training import plot_training

    try:
        columns = read_learning_curve(process)
        rows = [[short(float(value)) for value in row] for row in zip(*columns.values(), strict=True)]
        echo.echo(tabulate(rows[-limit:], headers=[name.replace('_', ' ') for name in columns], disable_numparse=True))
        if output:
            echo.echo_success(f'wrote {plot_training({process.process_label: columns}, output)}')
    except (ValueError, OSError) as error:
        echo.echo_critical(str(error))
