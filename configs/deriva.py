"""Where the catalog is."""

from hydra_zen import builds, store

from deriva_ml import DerivaMLConfig

deriva_store = store(group="deriva_ml")
deriva_store(
    builds(
        DerivaMLConfig,
        hostname="local",
        catalog_id=1,
        populate_full_signature=True,
        zen_meta={"description": "this machine's own catalog folder, catalog 1"},
    ),
    name="default_deriva",
)
deriva_store(
    builds(
        DerivaMLConfig,
        hostname="local",
        catalog_id="demo",
        populate_full_signature=True,
        zen_meta={"description": "this machine's own catalog folder, catalog demo"},
    ),
    name="demo",
)
