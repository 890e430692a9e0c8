"""Machine-learned density-functional Hamiltonians with long-range electrostatics, for AiiDA.

The names below are what a Python program needs; each is loaded when it is first used. None of them needs AiiDA.
Type checkers read ``__init__.pyi``.
"""

from __future__ import annotations

from importlib import import_module

__version__ = '0.1.0'

#: Module of every public name, and the name there.
_HOMES = {
    'Bands': 'electronic.bands.band_structure:Bands',
    'Basis': 'electronic.orbitals.basis:Basis',
    'BlockPattern': 'electronic.matrices.blocks:BlockPattern',
    'DensityOfStates': 'electronic.bands.density_of_states:DensityOfStates',
    'Hamiltonian': 'electronic.matrices.hamiltonian:Hamiltonian',
    'HamiltonianAttributes': 'electronic.matrices.attributes:HamiltonianAttributes',
    'Predictor': 'model.inference:Predictor',
    'Pseudopotential': 'electronic.pseudo.pseudopotential:Pseudopotential',
    'SpeciesBasis': 'electronic.orbitals.basis:SpeciesBasis',
    'band_path': 'electronic.bands.kpoints:band_path',
    'band_structure': 'electronic.bands.band_structure:band_structure',
    'compute_h0': 'electronic.integrals.h0:compute_h0',
    'contract_bases': 'electronic.contraction.optimisation:contract_bases',
    'density_of_states': 'electronic.bands.density_of_states:density_of_states',
    'eigenvalues': 'electronic.bands.kspace:eigenvalues',
    'eigenvectors': 'electronic.bands.kspace:eigenvectors',
    'evaluate': 'model.evaluation:evaluate',
    'generate_basis': 'electronic.orbitals.generation:generate_basis',
    'load_model': 'model.inference:load_model',
    'magnetic_moments': 'electronic.bands.spin:magnetic_moments',
    'make_pseudopotential': 'electronic.pseudo.gth:make_pseudopotential',
    'make_structures': 'electronic.structures:make_structures',
    'mulliken_charges': 'electronic.bands.charges:mulliken_charges',
    'onsite_levels': 'electronic.bands.levels:onsite_levels',
    'plot_bands': 'plotting.bands:plot_bands',
    'potential_profile': 'electronic.bands.levels:potential_profile',
    'read_basis': 'io.bases:read_basis',
    'reconstruct': 'jobs.reconstruct:reconstruct_files',
    'set_species_labels': 'electronic.species:set_species_labels',
    'solve_mesh': 'electronic.bands.mesh:solve_mesh',
    'species_labels': 'electronic.species:species_labels',
    'train': 'jobs.train:train_files',
}

__all__ = ['__version__', *_HOMES]  # noqa: PLE0604


def __getattr__(name: str):
    """Load a public name when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    module, _, attribute = _HOMES[name].partition(':')
    globals()[name] = found = getattr(import_module(f'{__name__}.{module}'), attribute)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
