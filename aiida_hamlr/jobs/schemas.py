"""What stands in reconstruct.yaml, train.yaml and predict.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, ValidationInfo, model_validator

from aiida_hamlr.electronic.lattice import unit_vector
from aiida_hamlr.electronic.resources import Device
from aiida_hamlr.electronic.species import element_of_label, normalise_label
from aiida_hamlr.jobs.config import Config, ConfigPath, InputPath, beside_config, existing
from aiida_hamlr.model.config import ModelConfig, TrainingConfig

Mesh = tuple[PositiveInt, PositiveInt, PositiveInt]
Size = Literal['sz', 'szp', 'dzp', 'dzdp', 'tzp', 'tzdp']
Recipe = Literal['contracted', 'plain']


def _label(label: str) -> str:
    if normalise_label(label) != label:
        raise ValueError(f'species label {label!r}: write {normalise_label(label)}')
    return label


def _auto_or_existing(path: Path, info: ValidationInfo) -> Path:
    return path if str(path) == 'auto' else existing(beside_config(path, info))


def _potential_or_density(path: Path | None, info: ValidationInfo) -> Path | None:
    if path is None and 'potential' in info.data and info.data['potential'] is None:
        raise ValueError(
            'give potential (filplot of pp.x), density (charge-density.dat or .hdf5 of pw.x, or a filplot), or both'
        )
    return path


def _axis_with_spin_orbit(axis: tuple[float, float, float] | None, info: ValidationInfo):
    if axis is not None and not info.data.get('spin_orbit'):
        raise ValueError('only spin-orbit coupling ties the magnetization to an axis: set spin_orbit, or leave it out')
    return axis if axis is None else tuple(unit_vector(axis, 'magnetization axis').tolist())


SpeciesLabel = Annotated[str, AfterValidator(_label)]


def _is_label(key) -> bool:
    try:
        return normalise_label(key) == key
    except (AttributeError, ValueError):
        return False


class BasisRecipe(Config):
    """How to generate the orbitals of one species; what is not given is that of its element, or of all."""

    size: Size | None = None
    #: bohr
    cutoff_radius: PositiveFloat | None = None


class BasisConfig(Config):
    """Key ``basis``: a file per species, or a recipe, with files or other recipes for single species.

    ``{Al: Al.basis.h5, As: As.basis.h5}``, ``{size: dzp, cutoff_radius: 8.0}``,
    ``{size: dzp, N: {cutoff_radius: 7.0}, Al: Al.basis.h5}``, ``{size: dzp, H1: {size: sz}}``. What is given for an
    element holds for all its species without an entry. Nothing is generated unless a size is given.
    """

    #: contracted: on the bands of small crystals of the elements, all that are generated together; plain: the lowest
    #: solutions of the confined atom
    recipe: Recipe = 'contracted'

    size: Size | None = None
    #: bohr; null: the default of the element
    cutoff_radius: PositiveFloat | None = None
    #: one more function for shells whose two j differ, and contraction on bands of spinors; needs fully relativistic
    #: pseudopotentials
    spin_orbit: bool = False
    files: dict[str, InputPath] = Field(default_factory=dict, exclude=True)
    recipes: dict[str, BasisRecipe] = Field(default_factory=dict, exclude=True)

    @model_validator(mode='before')
    @classmethod
    def _sort_species(cls, content):
        if not isinstance(content, dict):
            return content
        species = {key: value for key, value in content.items() if _is_label(key)}
        rest = {key: value for key, value in content.items() if key not in species}
        if set(rest) & {'files', 'recipes'}:
            raise ValueError('give files and recipes under the chemical symbols themselves')
        files = {key: value for key, value in species.items() if not isinstance(value, dict)}
        recipes = {key: value for key, value in species.items() if isinstance(value, dict)}
        return {**rest, 'files': files, 'recipes': recipes}

    def file_of(self, label: str) -> Path | None:
        """The file of the orbitals of a species; None if they are generated."""
        own = label in self.files or label in self.recipes
        return self.files.get(label if own else element_of_label(label))

    def recipe_of(self, label: str) -> BasisRecipe:
        """How to generate the orbitals of a species; its size is None if none is given."""
        own, of_element = (self.recipes.get(name, BasisRecipe()) for name in (label, element_of_label(label)))
        return BasisRecipe(
            size=own.size or of_element.size or self.size,
            cutoff_radius=own.cutoff_radius or of_element.cutoff_radius or self.cutoff_radius,
        )


#: What can be computed of any Hamiltonian, see `compute_properties`.
Output = Literal['gap', 'bands', 'dos', 'projections', 'masses', 'charges', 'profile', 'layers']


class PropertyKeys(Config):
    """How properties of a Hamiltonian are computed, whether it is a reference or a prediction."""

    #: 'auto' or a file with the path of the bands
    path: Annotated[Path, AfterValidator(_auto_or_existing)] = Path('auto')
    #: number of the lowest bands; null: occupied and as many empty ones, at least eight
    n_bands: PositiveInt | None = None
    #: distance of the points of the path, 1/Å
    spacing: PositiveFloat = 0.04
    #: standard deviation of the Gaussians of the density of states, eV
    broadening: PositiveFloat = 0.1
    #: gaussian or tetrahedra (linear, without broadening)
    dos_method: Literal['gaussian', 'tetrahedra'] = 'gaussian'
    #: what 'projections' projects density of states and bands on: species; shell (l); m; atom; orbital (atom, l, m)
    projection: Literal['species', 'shell', 'm', 'atom', 'orbital'] = 'orbital'
    #: lattice vector along which 'layers' are, 0, 1 or 2
    axis: Literal[0, 1, 2] = 2


class ReferenceProperties(PropertyKeys):
    """What to compute of the Hamiltonian of a run, with the keys of predict.yaml.

    The files lie beside the Hamiltonian, and the numbers are in the summary. Gap, band edges and Fermi level are then
    those of this mesh and path, in the Hamiltonian too.
    """

    #: gap, bands, dos, projections, masses, charges, profile or layers, as in predict.yaml
    outputs: list[Output] = Field(default=['bands'], min_length=1)
    #: mesh for gap, Fermi level, density of states and charges; null: that of the density matrix
    kpoints: Mesh | None = None
    #: window of the macroscopic average of the electrostatic potential for 'profile', Å; null: no average
    period: PositiveFloat | None = None


class ReconstructConfig(Config):
    """reconstruct.yaml."""

    #: data-file-schema.xml of the run, or anything that ASE reads
    structure: InputPath
    #: filplot of pp.x, plot_num = 1; null: made from ``density``
    potential: InputPath | None = None
    #: charge-density.dat or .hdf5 of the run, or the folder that holds it, which need its XML file; or a filplot of
    #: pp.x, plot_num = 0: for the labels of the atoms and the vacuum level, and for the potential if that is not given
    density: Annotated[InputPath | None, AfterValidator(_potential_or_density)] = Field(None, validate_default=True)
    #: text output of ph.x of the same structure (epsil, zeu, q = 0), for the labels of its response to a field
    phonon: InputPath | None = None
    #: by species: chemical symbols, or labels of several species of one element such as H1 and H2
    pseudos: dict[SpeciesLabel, InputPath] = Field(min_length=1)
    basis: BasisConfig
    #: mesh for the density matrix and the Fermi level; null: points at most 0.25 1/Å apart, an even
    #: number along each axis, or one
    kpoints: Mesh | None = None
    #: data-file-schema.xml whose eigenvalues check the result
    plane_wave_bands: InputPath | None = None
    #: whether to check with the basis truncated at the cutoff of the run; null: if it is cheap
    quality_assurance: bool | None = None
    #: 'auto': a GPU if there is one
    device: Device = 'auto'
    #: CPU threads; null: as the environment (OMP_NUM_THREADS) says
    threads: PositiveInt | None = None
    #: GB for matrices and integrals; null: no limit
    memory_limit: PositiveFloat | None = None
    #: null: none are computed
    properties: ReferenceProperties | None = None
    output: ConfigPath = Field(Path('hamiltonian.h5'), validate_default=True)


class DataConfig(Config):
    """Key ``data``: names of Hamiltonian files, with wildcards."""

    train: list[str] = Field(min_length=1)
    validation: list[str] = Field(default_factory=list)
    test: list[str] = Field(default_factory=list)


class TrainConfig(Config):
    """train.yaml."""

    data: DataConfig
    #: model folder from which training starts (fine-tuning): its network, basis and elements are kept, the files may
    #: add elements; null: a new network
    parent: InputPath | None = None
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    output: ConfigPath = Field(Path('run'), validate_default=True)


class PredictConfig(PropertyKeys):
    """predict.yaml."""

    #: model folder
    model: InputPath
    #: further models of the same elements and basis, for example of other seeds: their spread is an uncertainty
    committee: list[InputPath] = Field(default_factory=list)
    #: files that ASE reads, each with one or more structures
    structures: list[InputPath] = Field(min_length=1)
    #: names of all structures in their order, which are those of their folders; null: names of the files, with running
    #: numbers where a file has several structures
    labels: list[str] | None = None
    #: gap: band gap, edges and Fermi level over mesh and band path, no files; bands: along a path; projections: density
    #: of states and bands by orbital; masses: at the band edges; profile: levels of the atoms; layers: band edges by
    #: layer; response: dielectric tensor and Born charges of a model with response
    outputs: list[Literal['hamiltonian', Output, 'response']] = Field(default=['hamiltonian', 'bands'], min_length=1)
    #: mesh for gap, Fermi level, density of states and charges; null: points at most ``kpoints_distance`` apart
    kpoints: Mesh | None = None
    #: largest distance of the points of the mesh, 1/Å, for structures of different cells
    kpoints_distance: PositiveFloat = 0.25
    #: discard overlap eigenvectors with eigenvalues at or below this; for nearly dependent orbitals, whose combinations
    #: magnify the errors of the model; 0 keeps all
    overlap_threshold: float = Field(0.0, ge=0.0, lt=0.1)
    #: starting moments by species, Bohr magnetons, for structures that have none, of models of magnetic structures;
    #: species without an entry have none
    magnetic_moments: dict[SpeciesLabel, float] = Field(default_factory=dict)
    #: add the spin-orbit part of fully relativistic pseudopotentials: bands and all else are those of spinors then
    spin_orbit: bool = False
    #: fully relativistic UPF files by species, of the set of the model's pseudopotentials where these are scalar
    spin_orbit_pseudos: dict[SpeciesLabel, InputPath] = Field(default_factory=dict)
    #: with spin_orbit, where positive moments of magnetic structures point, Cartesian, of any length; null: along z
    magnetization_axis: Annotated[tuple[float, float, float] | None, AfterValidator(_axis_with_spin_orbit)] = None
    #: atoms of small structures that pass through the network together; memory grows with it
    batch_atoms: PositiveInt = 128
    #: GB for matrices, integrals and factorisations of one structure; null: no limit
    memory_limit: PositiveFloat | None = None
    device: Device = 'auto'
    output: ConfigPath = Field(Path('predictions'), validate_default=True)
