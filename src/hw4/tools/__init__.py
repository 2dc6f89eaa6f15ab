"""What runs, checks and shows the notebooks: the command line and everything behind it."""

import sys

# The schemas of nbformat ask for no IRI, whose grammar takes 3 s to build at every import.
sys.modules.setdefault("rfc3987_syntax", None)
