"""Names of the tensors of a graph, each declared once with its shape, its unit and how a batch joins it.

A constant such as :data:`SPECIES` is the name of a tensor; :data:`REGISTRY` holds its :class:`Key`. To add a tensor to
graphs, declare it here: graphs refuse names that are not declared, and batches of structures that do not all have it.

Axes that differ between structures have letters: ``N`` atoms, ``E`` message edges, ``P`` orbital pairs, ``K`` wave
vectors, ``C`` directed bonds, ``M`` ordered pairs of all atoms (N^2), ``B`` structures (1 in the graph of one). Axes
that only the model decides have words: ``wigner``, ``columns`` (components of a pair's block), ``onsite`` (components
of an on-site block). Tensors without a dtype have the network's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

#: Letters of the axes along which the structures of a batch are joined.
JOINED_AXES = frozenset('NEPKCMB')


@dataclass(frozen=True)
class Key:
    """Declaration of one tensor of a graph.

    Parameters
    ----------
    name : str
    shape : tuple of int and str
        Numbers, letters and words of the axes, see the module's text.
    unit : str
        Empty for pure numbers.
    dtype : torch.dtype or None
        None: the network's.
    cat_dim : int
        Axis along which the structures of a batch are joined (``__cat_dim__`` of torch_geometric).
    counts_atoms : bool
        Whether the values are indices of atoms, to which a batch adds the number of atoms of the structures before
        (``__inc__`` of torch_geometric).
    """

    name: str
    shape: tuple[int | str, ...]
    unit: str = ''
    dtype: torch.dtype | None = None
    cat_dim: int = 0
    counts_atoms: bool = False

    @property
    def pair_dim(self) -> int | None:
        """Axis of the orbital pairs, None if the tensor has none."""
        return self.shape.index('P') if 'P' in self.shape else None

    def check(self, value: torch.Tensor):
        """Raise ``ValueError`` if a tensor does not have the declared shape and dtype."""
        expected = '(' + ', '.join(map(str, self.shape)) + (',)' if len(self.shape) == 1 else ')')
        if not isinstance(value, torch.Tensor):
            raise ValueError(f'{self.name}: a graph holds tensors, not {type(value).__name__}')
        if value.dim() != len(self.shape) or any(
            isinstance(axis, int) and axis != size for axis, size in zip(self.shape, value.shape, strict=True)
        ):
            raise ValueError(f'{self.name}: has shape {tuple(value.shape)}, declared is {expected}')
        if self.dtype is not None and value.dtype != self.dtype:
            raise ValueError(f'{self.name}: has {value.dtype}, declared is {self.dtype}')


#: Declarations by name.
REGISTRY: dict[str, Key] = {}


def _declare(name: str, *shape: int | str, **more) -> str:
    key = REGISTRY[name] = Key(name, shape, **more)
    if shape[key.cat_dim] not in JOINED_AXES:
        raise ValueError(f'{name}: structures cannot be joined along axis {key.cat_dim} of {shape}')
    return name


_DOUBLE, _INDEX = {'dtype': torch.float64}, {'dtype': torch.int64}
_ATOM_PAIRS = {'dtype': torch.int64, 'cat_dim': 1, 'counts_atoms': True}

#: Structure of every atom: zeros in the graph of one structure. torch_geometric makes the one of a batch.
BATCH = _declare('batch', 'N', **_INDEX)
#: Number of atoms.
N_ATOMS = _declare('n_atoms', 'B', **_INDEX)
#: Index of every atom's element in the model's list of species.
SPECIES = _declare('species', 'N', **_INDEX)
#: Starting moments of the atoms as a spin sees them, in units in which a large one is 1: for spin down the negative of
#: those for spin up. Only in graphs for models of magnetic structures.
MOMENT = _declare('moment', 'N')
#: The same atom as the other spin sees it; in a structure without moments the atom itself.
OTHER_SPIN = _declare('other_spin_index', 'N', counts_atoms=True, **_INDEX)
#: Lattice vectors in rows.
CELL = _declare('cell', 'B', 3, 3, unit='Å', **_DOUBLE)
#: Positions of the atoms.
POSITION = _declare('position', 'N', 3, unit='Å', **_DOUBLE)

#: Atoms i (receives) and j (sends) of the message edges, all directions.
EDGE_INDEX = _declare('edge_index', 2, 'E', **_ATOM_PAIRS)
#: Length of the edges.
EDGE_LENGTH = _declare('edge_length', 'E', unit='Å')
#: Wigner matrices of all l of the edges' bond frames, one after the other.
EDGE_WIGNER = _declare('edge_wigner', 'E', 'wigner')

#: Wave vectors of the attention, one of k and -k; their weights in a sum over k and -k; their number.
WAVE_VECTOR = _declare('wave_vector', 'K', 3, unit='1/Å', **_DOUBLE)
WAVE_WEIGHT = _declare('wave_weight', 'K', **_DOUBLE)
N_WAVES = _declare('n_waves', 'B', **_INDEX)

#: Atoms i (rows) and j (columns) of the orbital pairs whose block the network predicts.
PAIR_INDEX = _declare('pair_index', 2, 'P', **_ATOM_PAIRS)
#: Length of the pairs.
PAIR_LENGTH = _declare('pair_length', 'P', unit='Å')
#: Vector from atom i to atom j + R.
PAIR_VECTOR = _declare('pair_vector', 'P', 3, unit='Å')
#: Wigner matrices of the pairs' bond frames.
PAIR_WIGNER = _declare('pair_wigner', 'P', 'wigner')
#: Part of a pair's block that depends on the distance alone.
PAIR_BASELINE = _declare('pair_baseline', 'P', 'columns', unit='eV')
#: Scale of the network's output, which is added to it.
PAIR_SCALE = _declare('pair_scale', 'P', 'columns', unit='eV')
#: Factor that takes long-range blocks to zero at the pair cutoff.
PAIR_SWITCH = _declare('pair_switch', 'P')
#: Block of H - H0 in the bond frame.
PAIR_TARGET = _declare('pair_target', 'P', 'columns', unit='eV')
#: Overlap block in the bond frame.
PAIR_OVERLAP = _declare('pair_overlap', 'P', 'columns')
#: Blocks of r - tau_i in the bond frame.
PAIR_DIPOLE = _declare('pair_dipole', 'P', 3, 'columns', unit='Å')

#: Irreps of the on-site blocks of H0 less the mean levels of the atoms, and of its blocks in the bond
#: frames of pairs and of message edges; only in graphs for models that see H0.
ONSITE_H0 = _declare('onsite_h0', 'N', 'onsite', unit='eV')
PAIR_H0 = _declare('pair_h0', 'P', 'columns', unit='eV')
EDGE_H0 = _declare('edge_h0', 'E', 'columns', unit='eV')
#: What a graph needs no more when the three below are made from it.
H0_COMPONENTS = (ONSITE_H0, PAIR_H0, EDGE_H0)
#: The same as the network sees them: less their mean or two-body part, in units of their scales.
ONSITE_H0_INPUT = _declare('onsite_h0_input', 'N', 'onsite')
PAIR_H0_INPUT = _declare('pair_h0_input', 'P', 'columns')
EDGE_H0_INPUT = _declare('edge_h0_input', 'E', 'columns')
#: Part of the on-site blocks that is linear in those of H0.
ONSITE_BASELINE = _declare('onsite_baseline', 'N', 'onsite', unit='eV')

#: Irreps of the on-site blocks of H - H0, of the overlap, and of r - tau_i.
ONSITE_TARGET = _declare('onsite_target', 'N', 'onsite', unit='eV')
ONSITE_OVERLAP = _declare('onsite_overlap', 'N', 'onsite')
ONSITE_DIPOLE = _declare('onsite_dipole', 'N', 3, 'onsite', unit='Å')

#: Field at the atoms that the short-range network sees.
FIELD = _declare('field', 'N', 3, unit='V/Å', **_DOUBLE)
#: Bonds along which charge passes, both directions, and their weights.
BOND_INDEX = _declare('bond_index', 2, 'C', **_ATOM_PAIRS)
BOND_WEIGHT = _declare('bond_weight', 'C', **_DOUBLE)
#: Whether the graph holds the matrices below; without them potentials are summed anew from cell and positions.
HAS_MATRICES = _declare('has_matrices', 'B', dtype=torch.bool)
#: For all atoms i, and for each all atoms j: potential at i of a unit charge on j, field there, and minus the field
#: there of a unit dipole on j.
COULOMB_POTENTIAL = _declare('coulomb_potential', 'M', unit='V/e', **_DOUBLE)
COULOMB_FIELD = _declare('coulomb_field', 'M', 3, unit='V/(Å e)', **_DOUBLE)
COULOMB_DIPOLE = _declare('coulomb_dipole', 'M', 3, 3, unit='V/(e Å^2)', **_DOUBLE)
#: The same three with the width at which potentials act on the orbitals, where atoms polarise.
OUTER_POTENTIAL = _declare('outer_potential', 'M', unit='V/e', **_DOUBLE)
OUTER_FIELD = _declare('outer_field', 'M', 3, unit='V/(Å e)', **_DOUBLE)
OUTER_DIPOLE = _declare('outer_dipole', 'M', 3, 3, unit='V/(e Å^2)', **_DOUBLE)

#: Hirshfeld charges and dipoles; zeros where the file has none.
LABEL_CHARGE = _declare('label_charge', 'N', unit='e', **_DOUBLE)
LABEL_DIPOLE = _declare('label_dipole', 'N', 3, unit='e Å', **_DOUBLE)
#: Dielectric tensor and Born charges, zeros where the file has none, and whether it has the one and the other.
LABEL_DIELECTRIC = _declare('label_dielectric', 'B', 3, 3, **_DOUBLE)
LABEL_BORN = _declare('label_born', 'N', 3, 3, unit='e', **_DOUBLE)
LABELLED = _declare('labelled', 'B', 2, dtype=torch.bool)
#: Numbers of stored elements: on-site, of the predicted pairs (both directions), and all.
N_ONSITE, N_PAIRS, N_ALL = (_declare(name, 'B', **_INDEX) for name in ('n_onsite', 'n_pairs', 'n_all'))
#: Sum of |H - H0| over the elements that are neither on-site nor predicted.
NEGLECTED = _declare('neglected', 'B', unit='eV')
