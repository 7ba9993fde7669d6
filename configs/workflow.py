"""What kind of work a run is; the code itself is found from the model's source file."""

from hydra_zen import builds, store

from deriva_ml.execution import Workflow

workflow_store = store(group="workflow")
workflow_store(
    builds(
        Workflow,
        name="Digits classification",
        workflow_type=["Training", "Testing"],
        description="Train a classifier of handwritten digits and judge it on images kept apart",
        populate_full_signature=True,
    ),
    name="default_workflow",
)
