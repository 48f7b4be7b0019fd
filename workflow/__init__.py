"""What the make commands call: profiles, Snakemake, papermill, the plan."""

import os
import sys

# before anything imports Keras; one's own setting is kept, and refused where it is another backend
os.environ.setdefault("KERAS_BACKEND", "jax")
# jsonschema, which checks notebooks, does without it: it builds a parser of addresses when it is
# imported, for 2.5 of the 3.4 seconds that each process of a batch took to start
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
