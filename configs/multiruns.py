"""Named sweeps: ``deriva-ml-run +multirun=NAME``."""

from deriva_ml.execution import multirun_config

multirun_config(
    "digits_compare",
    overrides=["+experiment=digits_logistic,digits_strong,digits_neighbours"],
    description="# Three classifiers of handwritten digits\n\nThe same split for all; compare their metrics.json.",
)
