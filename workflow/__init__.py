"""What the make commands call: profiles, Snakemake, papermill, the plan."""

import os

# before anything imports Keras; one's own setting is kept, and refused where it is another backend
os.environ.setdefault("KERAS_BACKEND", "jax")
