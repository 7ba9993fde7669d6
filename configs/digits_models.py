"""The models and their variants."""

from hydra_zen import builds, store

from deriva_ml.demo.models import k_nearest_neighbours, logistic_regression, nothing

LogisticRegression = builds(
    logistic_regression,
    populate_full_signature=True,
    zen_partial=True,
    zen_meta={"description": "multinomial logistic regression on the pixels"},
)
Neighbours = builds(
    k_nearest_neighbours,
    populate_full_signature=True,
    zen_partial=True,
    zen_meta={"description": "vote of the five nearest training images"},
)

model_store = store(group="model_config")
model_store(LogisticRegression, name="default_model")
model_store(LogisticRegression, name="logistic_regression")
model_store(
    LogisticRegression,
    regularisation=0.01,
    description="logistic regression with a strong penalty",
    name="logistic_regression_strong",
)
model_store(Neighbours, name="k_nearest_neighbours")
model_store(
    builds(
        nothing,
        populate_full_signature=True,
        zen_partial=True,
        zen_meta={"description": "does nothing: measures what recording costs"},
    ),
    name="nothing",
)
