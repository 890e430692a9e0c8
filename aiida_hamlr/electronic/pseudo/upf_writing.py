"""Writing UPF files of version 2."""

from __future__ import annotations

import numpy as np

from aiida_hamlr.electronic.pseudo.upf_content import UpfContent
from aiida_hamlr.electronic.units import RYDBERG

#: What is written into the header of a file for each functional.
FUNCTIONAL_NAMES = {
    'lda_pz': 'SLA PZ NOGX NOGC',
    'lda_pw': 'SLA PW NOGX NOGC',
    'pbe': 'SLA PW PBX PBC',
    'pbesol': 'SLA PW PSX PSC',
}


def format_upf(content: UpfContent, info: str, generated: str) -> str:
    """The text of a UPF v2 file of a scalar-relativistic norm-conserving pseudopotential.

    Parameters
    ----------
    content : UpfContent
        Norm-conserving; only its scalar-relativistic part is written.
    info : str
        Free text for PP_INFO: where the numbers come from.
    generated : str
        What made the file, for the header.
    """
    n, n_beta = len(content.r), len(content.projectors)
    flag = 'F' if content.core_density is None else 'T'
    energies = [w.energy for w in content.wavefunctions]
    l_max = max((p.angular_momentum for p in content.projectors), default=-1)
    parts = [
        '<UPF version="2.0.1">',
        f'<PP_INFO>\n{info.strip()}\n</PP_INFO>',
        f'<PP_HEADER\n generated="{generated}"\n author="" date="" comment=""\n element="{content.element}"\n'
        ' pseudo_type="NC"\n relativistic="scalar"\n is_ultrasoft="F"\n is_paw="F"\n is_coulomb="F"\n has_so="F"\n'
        f' has_wfc="F"\n has_gipaw="F"\n core_correction="{flag}"\n'
        f' functional="{FUNCTIONAL_NAMES[content.functional]}"\n z_valence="{content.z_valence:.8f}"\n'
        f' total_psenergy="0.0"\n wfc_cutoff="0.0"\n rho_cutoff="0.0"\n l_max="{l_max}"\n l_local="-1"\n'
        f' mesh_size="{n}"\n number_of_wfc="{len(content.wavefunctions)}"\n number_of_proj="{n_beta}"/>',
        '<PP_MESH>',
        _section('PP_R', content.r),
        _section('PP_RAB', content.rab),
        '</PP_MESH>',
    ]
    if content.core_density is not None:
        parts.append(_section('PP_NLCC', content.core_density))
    parts += [_section('PP_LOCAL', content.v_local), '<PP_NONLOCAL>']
    for i, beta in enumerate(content.projectors, 1):
        radius = content.r[beta.cutoff_index - 1]
        attributes = (
            f' index="{i}" angular_momentum="{beta.angular_momentum}" cutoff_radius_index="{beta.cutoff_index}"'
            f' cutoff_radius="{radius:.6f}"'
        )
        parts.append(_section(f'PP_BETA.{i}', beta.values, attributes))
    if n_beta:
        parts.append(_section('PP_DIJ', content.dij.ravel()))
    parts += ['</PP_NONLOCAL>', '<PP_PSWFC>']
    for i, (chi, energy) in enumerate(zip(content.wavefunctions, energies, strict=True), 1):
        attributes = (
            f' index="{i}" label="{chi.label}" l="{chi.angular_momentum}" occupation="{chi.occupation:.8f}"'
            f' pseudo_energy="{(energy or 0.0) / RYDBERG:.8f}"'
        )
        parts.append(_section(f'PP_CHI.{i}', chi.values, attributes))
    parts += ['</PP_PSWFC>', _section('PP_RHOATOM', content.rho_atom), '</UPF>']
    return '\n'.join(parts) + '\n'


def _section(tag: str, values: np.ndarray, attributes: str = '') -> str:
    rows = '\n'.join(' '.join(f'{value:.12e}' for value in values[i : i + 4]) for i in range(0, len(values), 4))
    return f'<{tag} type="real" size="{len(values)}" columns="4"{attributes}>\n{rows}\n</{tag}>'
