"""Assets to bring: none in the demonstration; a later run could take an earlier one's model file here."""

from hydra_zen import store

assets_store = store(group="assets")
assets_store([], name="default_asset")
