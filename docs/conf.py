"""Settings of Sphinx: `make docs` builds target/docs from the pages in this folder and from docstrings."""

from __future__ import annotations

import sys
from pathlib import Path

import mintws

sys.path.insert(0, str(Path(__file__).parent))

project = "mintws"
author = "the developers of mintws"
project_copyright = author
release = version = mintws.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "docstrings"]
nitpicky = True

html_theme = "furo"
html_title = f"mintws {release}"
html_show_copyright = False
html_copy_source = False

# Links such as guide.md#clients hold here as they do on the pages of a repository.
myst_heading_anchors = 4

# Docstrings have names in single backticks.
default_role = "py:obj"
autodoc_class_signature = "mixed"
autodoc_default_options = {
    "members": True,
    "member-order": "groupwise",
    # Members that a class has from these are not described again.
    "inherited-members": "ABC,BaseException,IntEnum,int,OSError,Protocol,Sequence,object,tuple",
}
python_maximum_signature_line_length = 88
