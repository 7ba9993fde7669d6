"""Named combinations: ``deriva-ml-run +experiment=NAME``."""

from hydra_zen import make_config, store

from configs.base import DerivaModelConfig

experiment_store = store(group="experiment", package="_global_")


def experiment(name: str, model: str, description: str) -> None:
    """Store an experiment on the digits."""
    config = make_config(
        hydra_defaults=["_self_", {"override /model_config": model}, {"override /datasets": "digits"}],
        description=description,
        bases=(DerivaModelConfig,),
    )
    experiment_store(config, name=name)


experiment("digits_logistic", "logistic_regression", "Digits: logistic regression on the pixels")
experiment("digits_strong", "logistic_regression_strong", "Digits: logistic regression with a strong penalty")
experiment("digits_neighbours", "k_nearest_neighbours", "Digits: vote of the five nearest training images")
