"""`hamlr basis`: the orbitals of some elements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ase import Atoms

from aiida_hamlr.electronic.contraction.optimisation import contract_bases
from aiida_hamlr.electronic.integrals.orbital_cutoff import CUTOFFS, describe_cutoffs, kinetic_energy_beyond
from aiida_hamlr.electronic.orbitals.basis import Basis, SpeciesBasis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.orbitals.total_momenta import check_fully_relativistic
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.io.bases import read_basis
from aiida_hamlr.jobs.inputs import read_basis_files, read_pseudo_files, read_structure, split_label
from aiida_hamlr.jobs.orbital_cache import cached_orbitals
from aiida_hamlr.jobs.outputs import check_outputs, remove_earlier, summary_path
from aiida_hamlr.jobs.progress import log, track
from aiida_hamlr.jobs.schemas import BasisConfig
from aiida_hamlr.jobs.summary import JobSummary


def make_bases(
    upfs: Sequence[Path | str],
    output: Path,
    config: BasisConfig,
    crystals: Sequence[Path] = (),
    plot: Path | None = None,
) -> Basis:
    """Generate bases and write their files, with ``summary.json`` beside them.

    Parameters
    ----------
    upfs : list of path or str
        Pseudopotentials of different elements, or with the labels of their species, as in ``H1=H.1.25.upf``.
    output : path
        The file of a single element; of several, the folder that gets ``El.basis.h5`` or ``LABEL.basis.h5`` of each.
    config : BasisConfig
        Recipe; size and cutoff radius of all elements or of single ones.
    crystals : list of path, optional
        Structures on which the orbitals are contracted, all elements together; default: simple crystals of the
        elements.
    plot : path, optional
        PNG, SVG or PDF file with the bands of the first crystal in plane waves and in orbitals.

    Raises
    ------
    ValueError
        If a pseudopotential is not supported, two are of one species, or a recipe or crystal does not fit.
    """
    summary = JobSummary('basis')
    pseudos, upf_files = {}, []
    for upf in upfs:
        label, path = split_label(upf)
        upf_files.append(path)
        pseudo = Pseudopotential.read(path) if label is None else read_pseudo_files({label: path})[label]
        label = label or pseudo.element
        if label in pseudos:
            raise ValueError(
                f'{path}: a second pseudopotential of {label}; give species of one element labels, as in '
                f'--upf {pseudo.element}1={path.name}'
            )
        pseudos[label] = pseudo
    unknown = sorted({*config.recipes, *config.files} - set(pseudos) - {p.element for p in pseudos.values()})
    if unknown:
        raise ValueError(f'there is no pseudopotential of {unknown[0]}, for which a basis is asked')
    if crystals and config.recipe == 'plain':
        raise ValueError('crystals are for contracted orbitals; leave out --structure, or --recipe plain')
    sizes = {label: config.recipe_of(label).size for label in pseudos}
    files = [output] if len(upfs) == 1 else [output / f'{label}.basis.h5' for label in pseudos]
    check_outputs(files, [*upf_files, *crystals, *config.files.values()], plot)
    remove_earlier([*files, summary_path(files[0]), *([plot] if plot else [])])
    basis = basis_of_config(config, pseudos, 'options', [read_structure(path) for path in crystals])
    summary['recipe'] = config.recipe
    summary |= _gain(next(iter(basis.values())).metadata)
    if plot is not None:
        _plot(basis, pseudos, plot)
    if len(upfs) == 1:
        ((label, species),) = basis.items()
        _write(species, output, summary, size=sizes[label], functional=pseudos[label].functional)
        return basis
    for label, species in basis.items():
        species.write(output / f'{label}.basis.h5')
        log(_describe(species, output / f'{label}.basis.h5', label))
    summary |= {
        'elements': list(basis),
        'sizes': sizes,
        'n_orbitals': {label: species.n_orbitals for label, species in basis.items()},
        'content_hash': basis.content_hash,
        'output': str(output),
    }
    summary.write(output / 'summary.json')
    return basis


def basis_of_config(
    config: BasisConfig,
    pseudos: Mapping[str, Pseudopotential],
    source: str,
    structures: Sequence[Atoms] = (),
) -> Basis:
    """Orbitals of all species of ``pseudos``: read, or generated, as the key ``basis`` of a configuration says.

    Contracted orbitals come from the cache, or are kept there, see `cached_orbitals`.

    Parameters
    ----------
    config : BasisConfig
        Files and recipes.
    pseudos : mapping of str to Pseudopotential
        By species label.
    source : str
        What errors call the configuration.
    structures : list of ase.Atoms, optional
        Crystals on which orbitals are contracted; default: simple ones of the species.

    Raises
    ------
    ValueError
        If a species has neither a file nor a recipe, or a file or a crystal does not fit.
    """
    files = {label: config.file_of(label) for label in pseudos}
    recipes = {label: config.recipe_of(label) for label, path in files.items() if path is None}
    for label, recipe in recipes.items():
        if recipe.size is None:
            raise ValueError(f'{source}: no basis for {label}; add its file, or a size, to the key basis')
    basis = dict(read_basis_files({label: path for label, path in files.items() if path is not None}))
    if config.recipe == 'plain' or not recipes:
        if config.spin_orbit and recipes:
            check_fully_relativistic({label: pseudos[label] for label in recipes})
        for label, recipe in recipes.items():
            log(f'generating the {recipe.size} basis of {label}')
            basis[label] = generate_basis(
                pseudos[label], recipe.size, recipe.cutoff_radius, spin_orbit=config.spin_orbit
            )
        return Basis(basis)
    chosen = {label: pseudos[label] for label in recipes}

    def contract() -> Basis:
        names = ', '.join(f'{label} {recipe.size}' for label, recipe in recipes.items())
        log(f'contracting {names}: minutes for new elements; give basis files, or recipe: plain, to do without')
        return contract_bases(
            chosen,
            {label: recipe.size for label, recipe in recipes.items()},
            {label: recipe.cutoff_radius for label, recipe in recipes.items() if recipe.cutoff_radius},
            structures,
            spin_orbit=config.spin_orbit,
            report=log,
        )

    plain = {label: recipe.model_dump() for label, recipe in recipes.items()}
    if config.spin_orbit:
        plain['spin_orbit'] = True
    return Basis({**basis, **cached_orbitals(chosen, plain, structures, contract)})


def import_basis(path: Path, selection: str | None, output: Path) -> SpeciesBasis:
    """Turn orbitals of another code into a basis file, with ``summary.json`` beside it.

    Parameters
    ----------
    path : path
        Of a format that `aiida_hamlr.io.bases.read_basis` knows.
    selection : str, optional
        Which orbitals of a .pao file, as in 's2p2d1'.
    output : path
        Basis file to write.

    Raises
    ------
    ValueError
        If the file is damaged or of another format.
    """
    summary = JobSummary('basis')
    check_outputs([output], [path])
    remove_earlier([output, summary_path(output)])
    basis = read_basis(path, selection)
    for line in describe_cutoffs(basis):
        log(line)
    energies = 1000 * kinetic_energy_beyond(basis)
    summary['kinetic_energy_beyond_meV'] = {
        f'{cutoff} Ry': [round(float(value), 1) for value in column]
        for cutoff, column in zip(CUTOFFS, energies.T, strict=True)
    }
    _write(basis, output, summary, size=selection, imported_from=str(path))
    return basis


def _plot(basis: Basis, pseudos: dict[str, Pseudopotential], output: Path):
    from aiida_hamlr.electronic.contraction.basis_bands import bands_of_basis, crystal_of_basis
    from aiida_hamlr.plotting.basis import plot_basis

    atoms = crystal_of_basis(basis)
    log(f'drawing the bands of {atoms.get_chemical_formula("metal")} into {output}')
    plot_basis(bands_of_basis(atoms, pseudos, basis, progress=lambda kpoints: track(kpoints, 'k-points')), output)


def _gain(metadata: dict) -> dict:
    """What a contraction gained, for the summary; nothing for plain orbitals."""
    return {key: value for key, value in metadata.items() if key == 'crystals' or key.startswith('band_error_')}


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
    log(_describe(basis, output))


def _describe(basis: SpeciesBasis, output: Path, label: str | None = None) -> str:
    shells = ', '.join(shell.label for shell in basis.shells)
    return f'{label or basis.element}: {basis.n_orbitals} orbitals ({shells}), written to {output}'
