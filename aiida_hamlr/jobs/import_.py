"""`hamlr import`: a Hamiltonian file from the files of another program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path

import numpy as np
from ase import Atoms

from aiida_hamlr.electronic.integrals.density_cutoff import describe_low_cutoff
from aiida_hamlr.electronic.integrals.h0 import compute_h0
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.matrices.hamiltonian import SPIN_ORBIT, Hamiltonian
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.reading import naming
from aiida_hamlr.electronic.species import species_labels
from aiida_hamlr.io.block_merging import RawMatrix, merge
from aiida_hamlr.io.deeptb import parse_shells
from aiida_hamlr.io.exchange import read_foreign
from aiida_hamlr.io.foreign_matrices import ForeignMatrices
from aiida_hamlr.io.structure_notes import labelled_as
from aiida_hamlr.jobs.by_element import by_element
from aiida_hamlr.jobs.inputs import read_basis_folder, read_pseudo_folder, read_structure
from aiida_hamlr.jobs.outputs import check_outputs, files_below, remove_earlier, summary_path
from aiida_hamlr.jobs.progress import log
from aiida_hamlr.jobs.summary import JobSummary
from aiida_hamlr.model.reference_matrices import fitted_shift

#: Overlaps of the file and of the basis that differ by more than this are those of other orbitals.
LARGEST_OVERLAP_DIFFERENCE = 1e-2

#: Positions that a structure file may correct, Å: outputs of CP2K have three to six decimals.
LARGEST_CORRECTION = 0.01

#: Blocks between atoms whose orbitals do not overlap are left out if no element is larger, eV.
NEGLIGIBLE = 1e-6


#: Electrons within which a cell is neutral.
ELECTRON_TOLERANCE = 1e-6


@dataclass(frozen=True)
class ImportSettings:
    """What is known beside the files.

    Parameters
    ----------
    basis : Basis, optional
        Orbitals of every species.
    pseudos : mapping of str to Pseudopotential, optional
        Of every species: H0 is added.
    ecutrho : float
        Cutoff of the grid of H0, Ry.
    n_electrons : float, optional
        Valence electrons per cell; default: those that the files say, or else the pseudopotentials.

    Raises
    ------
    ValueError
        If a number is not finite and above zero.
    """

    basis: Basis | None = None
    pseudos: Mapping[str, Pseudopotential] | None = None
    ecutrho: float = 160.0
    n_electrons: float | None = None

    def __post_init__(self):
        for option, unit, value in (('--ecutrho', ' Ry', self.ecutrho), ('--electrons', '', self.n_electrons)):
            if value is not None and not 0 < value < inf:
                raise ValueError(f'{option} {value:g}: give a finite number above 0{unit}')


def complete(foreign: ForeignMatrices, settings: ImportSettings) -> tuple[Hamiltonian, dict]:
    """A Hamiltonian from matrices of another program and what else is known.

    With pseudopotentials H0 is added, and H is shifted by a constant times S towards it, so that files of different
    structures have one zero of energy, as training needs.

    Parameters
    ----------
    foreign : ForeignMatrices
        Of `aiida_hamlr.io.exchange.read_foreign`.
    settings : ImportSettings
        What else is known.

    Returns
    -------
    hamiltonian : Hamiltonian
    numbers : dict
        What was compared and changed, for the summary.

    Raises
    ------
    ValueError
        If structure, basis or pseudopotentials do not belong to the matrices, or the electrons do not fit into the
        orbitals.
    """
    if settings.pseudos is not None and settings.basis is None:
        raise ValueError('pseudopotentials without a basis: H0 needs both')
    hamiltonian = foreign.to_hamiltonian(settings.basis)
    if settings.n_electrons is not None:
        hamiltonian.attributes.n_electrons = settings.n_electrons
    _check_electrons(hamiltonian, '--electrons' if settings.n_electrons is not None else 'number of electrons')
    return hamiltonian, {} if settings.pseudos is None else _add_h0(hamiltonian, settings)


def _check_electrons(hamiltonian: Hamiltonian, what: str):
    n_electrons, capacity = hamiltonian.attributes.n_electrons, 2 * hamiltonian.n_orbitals
    if n_electrons is not None and not 0 < n_electrons <= capacity:
        raise ValueError(
            f'{what} {n_electrons:g}: the {hamiltonian.n_orbitals} orbitals of the cell hold at most {capacity}; count '
            'the valence electrons of one cell'
        )


def _corrected(found: Atoms, atoms: Atoms) -> Atoms:
    """The same structure with more digits, and with species and moments of its own where it has them."""
    if len(atoms) != len(found) or not np.array_equal(atoms.numbers, found.numbers):
        raise ValueError(
            f'the atoms are {found.get_chemical_formula()}, those of the structure {atoms.get_chemical_formula()}, or '
            'their sequence differs'
        )
    largest = max(np.abs(atoms.positions - found.positions).max(), np.abs(atoms.cell[:] - found.cell[:]).max())
    if largest > LARGEST_CORRECTION:
        raise ValueError(f'cell or positions differ by {largest:.3f} Å from those of the structure')
    return labelled_as(atoms, found)


def _add_h0(hamiltonian: Hamiltonian, settings: ImportSettings) -> dict:
    """Add H0, the pseudopotentials and what they say; shift H towards H0."""
    h0 = compute_h0(hamiltonian.atoms, hamiltonian.basis, settings.pseudos, settings.ecutrho)
    numbers = _merge_h0(hamiltonian, h0)
    matrices, attributes = hamiltonian.matrices, hamiltonian.attributes
    values = matrices['hamiltonian']
    mean = values.mean(axis=0) if values.ndim == 2 else values
    shift = fitted_shift(mean - matrices['h0'], matrices['overlap'])
    matrices['hamiltonian'] = values + shift * matrices['overlap']
    hamiltonian.pseudopotentials = dict(h0.pseudopotentials)
    attributes.functional, attributes.ecutrho = h0.attributes.functional, h0.attributes.ecutrho
    attributes.grid, attributes.gauge, attributes.gauge_shift = h0.attributes.grid, 'fitted', shift
    if attributes.fermi_level is not None:
        attributes.fermi_level += shift
    valence = h0.attributes.n_electrons
    if attributes.n_electrons is None:
        attributes.n_electrons = valence
    return numbers | {'gauge_shift_eV': shift, 'valence_electrons': valence}


def _merge_h0(hamiltonian: Hamiltonian, h0: Hamiltonian) -> dict:
    """Bring both into one pattern and compare their overlaps."""
    signs = {SPIN_ORBIT: -1}
    pairs = hamiltonian.pattern.atom_pairs
    raw = {name: RawMatrix(pairs, values, signs.get(name, 1)) for name, values in hamiltonian.matrices.items()}
    raw |= {f'new {name}': RawMatrix(h0.pattern.atom_pairs, values) for name, values in h0.matrices.items()}
    pattern, entries = merge(raw, hamiltonian.pattern.n_orbitals)
    difference = _compare_overlaps(hamiltonian.symbols, pattern, entries['overlap'], entries.pop('new overlap'))
    entries['h0'] = entries.pop('new h0')
    known = set(map(tuple, h0.pattern.atom_pairs.tolist()))
    inside = np.array([tuple(pair) in known for pair in pattern.atom_pairs.tolist()], dtype=bool)
    inside = np.repeat(inside, pattern.chunk_shapes.prod(axis=1))
    outside = float(np.abs(entries['hamiltonian'][..., ~inside]).max(initial=0.0))
    if outside < NEGLIGIBLE:
        pattern, entries = h0.pattern, {name: values[..., inside] for name, values in entries.items()}
    hamiltonian.pattern, hamiltonian.matrices = pattern, entries
    return {'overlap_max_difference': difference, 'outside_of_overlap_max_meV': 1000 * outside}


def _compare_overlaps(symbols: list[str], pattern: BlockPattern, found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference of two overlaps; ``ValueError`` if they are those of different orbitals."""
    differences = np.abs(found - expected)
    worst = int(np.searchsorted(pattern.chunk_boundaries, differences.argmax(), side='right')) - 1
    if differences.max() > LARGEST_OVERLAP_DIFFERENCE:
        *image, i, j = pattern.atom_pairs[worst].tolist()
        raise ValueError(
            f'the overlap differs by {differences.max():.2g} from that of the basis, between {symbols[i]} {i} and '
            f'{symbols[j]} {j} + {image} (from 0); the basis is that of other orbitals, or their signs differ'
        )
    return float(differences.max())


def parse_shell_options(values: Sequence[str]) -> dict[str, list[int]] | None:
    """Angular momenta from options as ``Si=2s2p1d``; None without any.

    Raises
    ------
    ValueError
        If one is of another form.
    """
    given = by_element('--shells', values)
    if '' in given:
        raise ValueError(f'--shells {given[""]}: of which element? Give it as in Si=2s2p1d')
    found = {}
    for symbol, text in given.items():
        with naming(f'--shells {symbol}={text}'):
            found[symbol] = parse_shells(text)
    return found or None


@dataclass(frozen=True)
class ImportFiles:
    """What `hamlr import` may be given beside the source to read it and to complete it.

    Parameters
    ----------
    structure : path, optional
        Anything that ASE reads: cell and positions with all digits, and species labels and starting moments in place of
        those of the files, if it has them.
    basis_folder, pseudo_folder : path, optional
        Folders with ``El.basis.h5`` and a UPF file of every species.
    shells : mapping of str to sequences of int, optional
        Angular momenta by element, for formats that do not say them.
    frame : int, optional
        Which structure, from 0, where the source holds several.
    """

    shells: Mapping[str, Sequence[int]] | None = None
    frame: int | None = None
    structure: Path | None = None
    basis_folder: Path | None = None
    pseudo_folder: Path | None = None


def run_import(
    source: Path, format_name: str, output: Path, files: ImportFiles, settings: ImportSettings
) -> Hamiltonian:
    """Write a Hamiltonian file from the files of another program, and ``summary.json`` beside it.

    Parameters
    ----------
    source : path
        File or folder.
    format_name : str
        One of `aiida_hamlr.io.exchange.READABLE`.
    output : path
        Hamiltonian file to write.
    files : ImportFiles
        What is given beside the source.
    settings : ImportSettings
        Without what the files say.

    Raises
    ------
    ValueError
        If an input is missing or does not fit.
    """
    summary = JobSummary('import')
    read = [source, *(files_below(source) if source.is_dir() else ()), files.structure]
    for folder in (files.basis_folder, files.pseudo_folder):
        read += files_below(folder) if folder is not None else []
    check_outputs([output], read)
    if files.pseudo_folder is not None and files.basis_folder is None:
        raise ValueError('--pseudos needs --basis: H0 is made of both')
    if not source.exists():
        raise ValueError(f'{source}: no such file or folder')
    foreign = read_foreign(source, format_name, files.shells, files.frame)
    if files.structure is not None:
        with naming(source):
            foreign = replace(foreign, atoms=_corrected(foreign.atoms, read_structure(files.structure)))
    labels = sorted(set(species_labels(foreign.atoms)))
    if files.basis_folder is not None:
        settings = replace(settings, basis=read_basis_folder(files.basis_folder, labels))
    if files.pseudo_folder is not None:
        settings = replace(settings, pseudos=read_pseudo_folder(files.pseudo_folder, labels))
    remove_earlier([output, summary_path(output)])
    with naming(source):
        hamiltonian, numbers = complete(foreign, settings)
    hamiltonian.write(output)
    summary.warn(describe_electrons(hamiltonian.attributes.n_electrons, numbers.get('valence_electrons')), str(output))
    if settings.pseudos is not None:
        summary.warn(describe_low_cutoff(hamiltonian.basis, settings.pseudos, settings.ecutrho), str(output))
    lacking = missing_for_training(hamiltonian)
    summary |= {
        'format': format_name,
        'source': str(source),
        'formula': hamiltonian.atoms.get_chemical_formula(),
        'n_atoms': len(hamiltonian.atoms),
        'n_orbitals': hamiltonian.n_orbitals,
        'n_pairs': len(hamiltonian.pattern),
        'matrices': sorted(hamiltonian.matrices),
        **numbers,
        'missing_for_training': lacking,
        'output': str(output),
    }
    summary.write(summary_path(output))
    names = ', '.join(hamiltonian.matrices)
    log(f'{summary["formula"]}: {names} of {hamiltonian.n_orbitals} orbitals written to {output}')
    if lacking:
        log(f'for training {", ".join(lacking)} are missing: import with --basis and --pseudos')
    return hamiltonian


def describe_electrons(n_electrons: float | None, valence: float | None = None) -> list[str]:
    """A warning if the number of electrons is not known, or is not the valence of the pseudopotentials."""
    if n_electrons is None:
        return ['the number of electrons is not known, which gap, Fermi level and charges need; give --electrons N']
    if valence is None or abs(n_electrons - valence) < ELECTRON_TOLERANCE:
        return []
    return [
        f'{n_electrons:g} electrons, but the pseudopotentials have {valence:g} valence electrons: a cell of charge '
        f'{valence - n_electrons:+g} |e|; for a neutral one give --electrons {valence:g}'
    ]


def missing_for_training(hamiltonian: Hamiltonian) -> list[str]:
    """What a Hamiltonian lacks to be learned from, in words."""
    lacking = (
        [] if all(species.has_radial_functions for species in hamiltonian.basis.values()) else ['radial functions']
    )
    lacking += [] if 'h0' in hamiltonian.matrices else ['H0']
    return lacking + ([] if hamiltonian.pseudopotentials else ['pseudopotentials'])
