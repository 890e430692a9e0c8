"""Names of the tensors of a graph, in one place."""

#: (N,) index of every atom's element in the model's list of species.
SPECIES = 'species'
#: (2, E) atoms i (receives) and j (sends) of the message edges, all directions.
EDGE_INDEX = 'edge_index'
#: (E,) length of the edges, Å.
EDGE_LENGTH = 'edge_length'
#: (E, n_wigner) Wigner matrices of all l of the edges' bond frames, one after the other.
EDGE_WIGNER = 'edge_wigner'
#: (N, 3) positions of the atoms, Å, float64; with attention, like the next four, or where there are labels.
POSITION = 'position'
#: (K, 3) wave vectors, one of k and -k, 1/Å, float64.
WAVE_VECTOR = 'wave_vector'
#: (K,) their weights in a sum over k and -k, float64.
WAVE_WEIGHT = 'wave_weight'
#: (1,) numbers of atoms and of wave vectors of the structure.
N_ATOMS, N_WAVES = 'n_atoms', 'n_waves'
#: (2, P) atoms i (rows) and j (columns) of the orbital pairs whose block the network predicts.
PAIR_INDEX = 'pair_index'
#: (P,) length of the pairs, Å.
PAIR_LENGTH = 'pair_length'
#: (P, 3) vector from atom i to atom j + R, Å.
PAIR_VECTOR = 'pair_vector'
#: (P, n_wigner) Wigner matrices of the pairs' bond frames.
PAIR_WIGNER = 'pair_wigner'
#: (P, n_columns) what a pair's distance alone says about its block, eV.
PAIR_BASELINE = 'pair_baseline'
#: (P, n_columns) scale of what the network adds to it, eV.
PAIR_SCALE = 'pair_scale'
#: (P,) factor that takes blocks to zero at the pair cutoff.
PAIR_SWITCH = 'pair_switch'
#: (P, n_columns) the block of H - H0 in the bond frame, eV.
PAIR_TARGET = 'pair_target'
#: (P, n_columns) the overlap block in the bond frame.
PAIR_OVERLAP = 'pair_overlap'
#: (P, 3, n_columns) blocks of r - tau_i in the bond frame, Å.
PAIR_DIPOLE = 'pair_dipole'
#: (N, n_onsite) irreps of the on-site blocks of H - H0, eV.
ONSITE_TARGET = 'onsite_target'
#: (N, n_onsite) irreps of the on-site overlap.
ONSITE_OVERLAP = 'onsite_overlap'
#: (N, 3, n_onsite) irreps of the on-site blocks of r - tau_i, Å.
ONSITE_DIPOLE = 'onsite_dipole'
#: (N, 3) field at the atoms that the short-range network sees, V/Å.
FIELD = 'field'
#: (2, B) bonds along which charge passes, both directions, and (B,) their weights, float64.
BOND_INDEX, BOND_WEIGHT = 'bond_index', 'bond_weight'
#: (2, N^2) all ordered atom pairs (field point, source) of the structure.
COULOMB_INDEX = 'coulomb_index'
#: (N^2,) potential at the first atom of a unit charge on the second, V.
COULOMB_POTENTIAL = 'coulomb_potential'
#: (N^2, 3) field there, V/Å.
COULOMB_FIELD = 'coulomb_field'
#: (N^2, 3, 3) minus the field there of a unit dipole on the second, V/Å per e Å.
COULOMB_DIPOLE = 'coulomb_dipole'
#: The same three with the width at which potentials act, where atoms polarise.
OUTER_POTENTIAL, OUTER_FIELD, OUTER_DIPOLE = 'outer_potential', 'outer_field', 'outer_dipole'
#: Of structures whose long range goes over a mesh, instead of the matrices above: (1, N) their atoms, (N, 3) positions,
#: Å, (1,) number of atoms, (1, 3, 3) cell, Å.
MESH_INDEX, MESH_POSITION, MESH_ATOMS, MESH_CELL = 'mesh_index', 'mesh_position', 'mesh_atoms', 'mesh_cell'
#: (N,) and (N, 3) Hirshfeld charges, e, and dipoles, e Å, float64; zeros where the file has none.
LABEL_CHARGE, LABEL_DIPOLE = 'label_charge', 'label_dipole'
#: (1, 3, 3) dielectric tensor and (N, 3, 3) Born charges, e, float64, and (1, 2) whether the file has them.
LABEL_DIELECTRIC, LABEL_BORN, LABELLED = 'label_dielectric', 'label_born', 'labelled'
#: (1,) numbers of stored elements: on-site, of the predicted pairs (both directions), and all.
N_ONSITE, N_PAIRS, N_ALL = 'n_onsite', 'n_pairs', 'n_all'
#: (1,) sum of |H - H0| over the elements that are neither, eV.
NEGLECTED = 'neglected'
