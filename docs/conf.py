"""Configuration of Sphinx."""

import os
import sys
import tempfile
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
# The first import of AiiDA makes a configuration folder: not in the home of who builds this.
os.environ.setdefault('AIIDA_PATH', tempfile.mkdtemp())
(Path(os.environ['AIIDA_PATH']) / '.aiida').mkdir(parents=True, exist_ok=True)

from aiida.common.warnings import AiidaDeprecationWarning
from aiida.manage.configuration import get_config

from aiida_hamlr import __version__

# Autodoc looks at every attribute of a node, those included that AiiDA has deprecated.
get_config(create=True)
warnings.simplefilter('ignore', AiidaDeprecationWarning)

project = 'aiida-hamlr'
author = 'The aiida-hamlr developers'
copyright = '2026, the aiida-hamlr developers'
release = version = __version__

extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.mathjax',
    'sphinx.ext.napoleon',
    'sphinx_copybutton',
    'sphinx_design',
    'generated',
]
myst_enable_extensions = ['colon_fence', 'deflist', 'dollarmath', 'substitution']
myst_heading_anchors = 3
myst_substitutions = {'version': version}
exclude_patterns = ['_build', 'reference/_generated']

html_theme = 'sphinx_book_theme'
html_title = 'aiida-hamlr'
html_theme_options = {
    'repository_url': 'https://github.com/aiida-hamlr/aiida-hamlr',
    'use_repository_button': True,
    'show_navbar_depth': 1,
}
copybutton_prompt_text = '$ '

autodoc_member_order = 'bysource'
autodoc_typehints = 'none'
napoleon_google_docstring = False
napoleon_use_rtype = False


def setup(app):
    """Let `|e|` in docstrings stand for the elementary charge: Sphinx would look for a substitution of that name."""
    app.connect('autodoc-process-docstring', _escape_charges)


def _escape_charges(app, what, name, obj, options, lines):
    lines[:] = [line.replace('|e|', '\\|e\\|') for line in lines]
