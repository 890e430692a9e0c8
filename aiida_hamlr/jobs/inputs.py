"""Structures, pseudopotentials and orbitals that commands are given as files or folders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ase import Atoms

from aiida_hamlr.electronic.geometry import check_structure
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.io.bases import read_basis


def read_frames(path: Path) -> list[Atoms]:
    """All structures of a file, in any format that ASE reads or as the XML file of pw.x; at least one.

    Raises
    ------
    ValueError
        If the file is missing or cannot be read.
    """
    if not path.is_file():
        raise ValueError(f'{path}: no such file')
    if path.suffix == '.xml':
        from aiida_hamlr.io.qe import read_scf_xml

        return [read_scf_xml(path).atoms]
    import ase.io

    try:
        frames = ase.io.read(path, index=':')
    except Exception as error:
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise ValueError(f'{path}: cannot be read as a structure: {reason}') from error
    if not frames:
        raise ValueError(f'{path}: holds no structure')
    return frames


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
    """Orbitals by element, from one file each, of this package or of another code.

    Raises
    ------
    ValueError
        If a file is no basis file, or one of another element.
    """
    species = {}
    for element, path in files.items():
        species[element] = read_basis(path)
        if species[element].element != element:
            raise ValueError(f'{path}: given for {element}, but a basis of {species[element].element}')
    return Basis(species)


def read_basis_folder(folder: Path, elements: Iterable[str]) -> Basis:
    """Orbitals of the elements, from the files ``El.basis.h5`` of a folder."""
    files = {}
    for element in sorted(set(elements)):
        files[element] = folder / f'{element}.basis.h5'
        if not files[element].is_file():
            raise ValueError(f'{folder}: no basis for {element}; make {element}.basis.h5 with "hamlr basis"')
    return read_basis_files(files)


def read_pseudo_files(files: Mapping[str, Path]) -> dict[str, Pseudopotential]:
    """Pseudopotentials by element, from one UPF file each.

    Raises
    ------
    ValueError
        If a file is not supported, or one of another element.
    """
    pseudos = {}
    for element, path in files.items():
        pseudos[element] = Pseudopotential.read(path)
        if pseudos[element].element != element:
            raise ValueError(f'{path}: given for {element}, but a pseudopotential of {pseudos[element].element}')
    return pseudos


def read_pseudo_folder(folder: Path, elements: Iterable[str]) -> dict[str, Pseudopotential]:
    """Pseudopotentials of the elements from a folder of UPF files; the element is read from the file.

    Only files whose name begins with the element count; others in the folder do not matter.

    Raises
    ------
    ValueError
        If an element has none or several.
    """
    if not folder.is_dir():
        raise ValueError(f'{folder}: no such folder')
    pseudos = {}
    for element in sorted(set(elements)):
        files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() == '.upf']
        files = [path for path in files if _leading_element(path.name) == element]
        if len(files) != 1:
            found = ', '.join(path.name for path in files) if files else 'none'
            raise ValueError(f'{folder}: one UPF file for {element} is needed, as {element}.upf; found {found}')
        pseudos |= read_pseudo_files({element: files[0]})
    return pseudos


def _leading_element(name: str) -> str:
    """Leading letters of a file name up to the first that is not a letter, as a symbol."""
    letters = ''
    for character in name:
        if not character.isalpha():
            break
        letters += character
    return letters.capitalize()
