"""The main configuration: which groups a run takes, and what each is by default."""

from hydra_zen import store

from deriva_ml.execution import create_model_config

DerivaModelConfig = create_model_config(description="Handwritten digits")
store(DerivaModelConfig, name="deriva_model")
