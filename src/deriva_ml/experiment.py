"""``Experiment`` under the path that projects import it from."""

from deriva_ml.execution.experiment import Experiment

__all__ = ["Experiment"]
