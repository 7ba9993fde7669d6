"""Datasets of the demonstration. Their RIDs are the same in every demo catalog (``create-demo-catalog``)."""

from hydra_zen import store

from deriva_ml.dataset import DatasetSpecConfig
from deriva_ml.execution import with_description

TRAINING = DatasetSpecConfig(rid="1-0006", version="1.0.0")
TESTING = DatasetSpecConfig(rid="1-0008", version="1.0.0")
COMPLETE = DatasetSpecConfig(rid="1-0002", version="1.0.0")

datasets_store = store(group="datasets")
digits = with_description([TRAINING, TESTING], "digits: 1,442 training and 355 test images")
datasets_store(digits, name="default_dataset")
datasets_store(digits, name="digits")
datasets_store(with_description([COMPLETE], "digits: all 1,797 images"), name="digits_complete")
datasets_store([], name="none")
