"""Structures, pseudopotentials and orbitals that commands are given as files or folders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ase import Atoms
from ase.data import atomic_numbers

from aiida_hamlr.electronic.geometry import check_structure
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.reading import naming
from aiida_hamlr.electronic.species import check_label, normalise_label, set_species_labels, species_labels
from aiida_hamlr.io.bases import read_basis

#: Characters within which the structure of an input of pw.x ends.
_LARGEST_PW_INPUT = 5_000_000

#: Examples for messages.
_STRUCTURE_FILES = 'as .cif, .extxyz, POSCAR or an input of pw.x'


def read_frames(path: Path) -> list[Atoms]:
    """All structures of a file, in any format that ASE reads or as the XML file of pw.x; at least one.

    Those of pw.x and of extended XYZ files with the column ``species_labels`` have species labels.

    Raises
    ------
    ValueError
        If the file is missing or cannot be read, or a species label is not possible.
    """
    if path.is_dir():
        raise ValueError(f'{path}: is a folder; give a file with structures, {_STRUCTURE_FILES}')
    if not path.is_file():
        raise ValueError(f'{path}: no such file')
    if path.suffix == '.xml':
        from aiida_hamlr.io.qe import read_scf_xml

        return [read_scf_xml(path).atoms]
    try:
        frames = _read_frames(path)
    except Exception as error:
        raise ValueError(f'{path}: cannot be read as a structure: {_reason(error)}') from error
    if not frames:
        raise ValueError(f'{path}: holds no structure')
    with naming(path):
        for atoms in frames:
            set_species_labels(atoms, species_labels(atoms))
    return frames


def _reason(error: Exception) -> str:
    """What is wrong with a file of structures; ASE says it with the name of a format, or with nothing, at times."""
    from ase.io.formats import UnknownFileTypeError

    words = str(error).split()
    if isinstance(error, UnknownFileTypeError) and len(words) == 1:
        return f'files of type {words[0]!r} hold none; give one {_STRUCTURE_FILES}'
    if not words or isinstance(error, UnicodeDecodeError):
        return f'its content does not fit the format that its name says; give a file {_STRUCTURE_FILES}'
    return ' '.join(words)


def _read_frames(path: Path) -> list[Atoms]:
    import ase.io

    from aiida_hamlr.io.qe import is_pw_input, read_pw_input

    with path.open(encoding='utf-8', errors='replace') as file:
        text = file.read(_LARGEST_PW_INPUT)
    if is_pw_input(text):
        # ASE knows only some of the forms that pw.x takes.
        return [read_pw_input(text)]
    with _isotopes_known():
        return ase.io.read(path, index=':')


@contextmanager
def _isotopes_known() -> Iterator[None]:
    """Let ASE read the symbols D and T as hydrogen."""
    isotopes = {symbol: 1 for symbol in ('D', 'T') if symbol not in atomic_numbers}
    atomic_numbers.update(isotopes)
    try:
        yield
    finally:
        for symbol in isotopes:
            del atomic_numbers[symbol]


def read_structure(path: Path) -> Atoms:
    """The one structure of a file, checked.

    Raises
    ------
    ValueError
        If the file cannot be read, holds several structures or an impossible one.
    """
    frames = read_frames(path)
    if len(frames) > 1:
        raise ValueError(f'{path}: holds {len(frames)} structures, one is needed')
    check_structure(frames[0], str(path))
    return frames[0]


def read_basis_files(files: Mapping[str, Path]) -> Basis:
    """Orbitals by species label, from one file each, of this package or of another code.

    Raises
    ------
    ValueError
        If a file is no basis file, or one of another element.
    """
    species = {}
    for label, path in files.items():
        species[label] = read_basis(path)
        check_label(label, species[label].element, f'{path}: basis')
    return Basis(species)


def read_basis_folder(folder: Path, labels: Iterable[str]) -> Basis:
    """Orbitals of the species, from the files ``El.basis.h5`` or ``LABEL.basis.h5`` of a folder."""
    if not folder.is_dir():
        found = 'is a file' if folder.exists() else 'no such folder'
        raise ValueError(f'{folder}: {found}; give the folder with El.basis.h5 of every species')
    files = {}
    for label in sorted(set(labels)):
        files[label] = folder / f'{label}.basis.h5'
        if not files[label].is_file():
            raise ValueError(f'{folder}: no basis for {label}; make {label}.basis.h5 with "hamlr basis"')
    return read_basis_files(files)


def read_pseudo_files(files: Mapping[str, Path]) -> dict[str, Pseudopotential]:
    """Pseudopotentials by species label, from one UPF file each.

    Raises
    ------
    ValueError
        If a file is not supported, or one of another element.
    """
    pseudos = {}
    for label, path in files.items():
        pseudos[label] = Pseudopotential.read(path)
        check_label(label, pseudos[label].element, f'{path}: pseudopotential')
    return pseudos


def read_siblings(wanted: bool, files: Mapping[str, Path] | None) -> dict[str, Pseudopotential]:
    """Fully relativistic pseudopotentials that spin-orbit coupling is taken from, by species label.

    Raises
    ------
    ValueError
        If a file cannot be read, or files are given though no spin-orbit coupling is wanted.
    """
    if files and not wanted:
        raise ValueError('fully relativistic pseudopotentials are given without spin_orbit; set it, or leave them out')
    return read_pseudo_files(files or {})


def read_pseudo_folder(folder: Path, labels: Iterable[str]) -> dict[str, Pseudopotential]:
    """Pseudopotentials of the species from a folder of UPF files; the element is read from the file.

    Only files whose name begins with the element are looked at, so that others in the folder do not matter; for a
    species with another label than the chemical symbol, those named by the label up to the first dot, as ``H1.upf``.

    Raises
    ------
    ValueError
        If a species has none or several.
    """
    if not folder.is_dir():
        found = 'is a file' if folder.exists() else 'no such folder'
        raise ValueError(f'{folder}: {found}; give the folder with a UPF file of every species')
    files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() == '.upf']
    labels = sorted(set(labels))
    of_labels = {label: [path for path in files if path.name.split('.')[0] == label] for label in labels}
    pseudos = {}
    for label, found in of_labels.items():
        if label in atomic_numbers:
            others = {path for other in labels if other != label for path in of_labels[other]}
            found = [path for path in files if _leading_element(path.name) == label and path not in others]
        if len(found) != 1:
            names = ', '.join(path.name for path in found) if found else 'none'
            raise ValueError(f'{folder}: one UPF file for {label} is needed, as {label}.upf; found {names}')
        pseudos |= read_pseudo_files({label: found[0]})
    return pseudos


def read_sibling_folder(
    wanted: bool, folder: Path | None, pseudos: Mapping[str, Pseudopotential]
) -> dict[str, Pseudopotential]:
    """The same from the folder of `--spin-orbit-pseudos`, for the pseudopotentials that are scalar-relativistic.

    Raises
    ------
    ValueError
        If there is no such folder, a species has no file or several, or no spin-orbit coupling is wanted.
    """
    if folder is None:
        return {}
    if not wanted:
        raise ValueError('--spin-orbit-pseudos is given without --spin-orbit; add it, or leave out the folder')
    return read_pseudo_folder(folder, [label for label, pseudo in pseudos.items() if pseudo.spin_orbit_dij is None])


def split_label(argument: str | Path) -> tuple[str | None, Path]:
    """Label and file of an argument such as ``H1=H.1.25.upf``; without a label the former is None.

    Raises
    ------
    ValueError
        If the label is not possible.
    """
    label, separator, name = str(argument).partition('=')
    if not separator or '/' in label:
        return None, Path(argument)
    return normalise_label(label), Path(name)


def _leading_element(name: str) -> str:
    """Leading letters of a file name up to the first that is not a letter, as a symbol."""
    letters = ''
    for character in name:
        if not character.isalpha():
            break
        letters += character
    return letters.capitalize()
