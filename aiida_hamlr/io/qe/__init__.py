"""Reading what Quantum ESPRESSO writes: data-file-schema.xml, pp.x's filplot and charge-density.dat or .hdf5."""

from aiida_hamlr.io.qe.grid_files import (
    GridFile,
    read_charge_density,
    read_density,
    read_filplot,
    read_potential,
)
from aiida_hamlr.io.qe.run import QeRun, check_supported, read_scf_xml
from aiida_hamlr.io.qe.structure import check_same_structure, element_of_label

__all__ = [
    'GridFile',
    'QeRun',
    'check_same_structure',
    'check_supported',
    'element_of_label',
    'read_charge_density',
    'read_density',
    'read_filplot',
    'read_potential',
    'read_scf_xml',
]
