"""`hamlr basis`: the orbitals of one element."""

from __future__ import annotations

from pathlib import Path

from aiida_hamlr.electronic.basis import SpeciesBasis
from aiida_hamlr.electronic.basis_generation import generate_basis
from aiida_hamlr.electronic.pseudopotential import Pseudopotential
from aiida_hamlr.io.bases import read_basis
from aiida_hamlr.jobs.progress import log
from aiida_hamlr.jobs.summary import JobSummary, summary_path


def make_basis(upf: Path, size: str, cutoff_radius: float | None, output: Path) -> SpeciesBasis:
    """Generate a basis and write its file and ``summary.json`` beside it.

    Parameters
    ----------
    upf : path
    size : str
        As in 'dzp'.
    cutoff_radius : float, optional
        bohr.
    output : path

    Raises
    ------
    ValueError
        If the pseudopotential is not supported, or size or radius are not possible.
    """
    summary = JobSummary('basis')
    pseudo = Pseudopotential.read(upf)
    basis = generate_basis(pseudo, size, cutoff_radius)
    _write(basis, output, summary, size=size, functional=pseudo.functional)
    return basis


def import_basis(path: Path, selection: str | None, output: Path) -> SpeciesBasis:
    """Turn orbitals of another code into a basis file, with ``summary.json`` beside it.

    Parameters
    ----------
    path : path
        Of a format that `aiida_hamlr.io.bases.read_basis` knows.
    selection : str, optional
        Which orbitals of a .pao file, as in 's2p2d1'.
    output : path

    Raises
    ------
    ValueError
        If the file is damaged or of another format.
    """
    summary = JobSummary('basis')
    basis = read_basis(path, selection)
    _write(basis, output, summary, size=selection, imported_from=str(path))
    return basis


def _write(basis: SpeciesBasis, output: Path, summary: JobSummary, **origin):
    basis.write(output)
    summary |= {
        'element': basis.element,
        **origin,
        'cutoff_radius_bohr': basis.cutoff_radius,
        'n_orbitals': basis.n_orbitals,
        'content_hash': basis.content_hash,
        'output': str(output),
    }
    summary.write(summary_path(output))
    shells = ', '.join(shell.label for shell in basis.shells)
    log(f'{basis.element}: {basis.n_orbitals} orbitals ({shells}), written to {output}')
