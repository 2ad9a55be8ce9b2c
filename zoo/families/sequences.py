"""Networks for time series."""

from ..network import SERIES, Family, Network

_SERIES_RESNET = Family(
    "resnet_keras.networks.sequences:series_resnet",
    {"z_normalization": (True, False)},
    inputs=SERIES,
)

ROWS = (
    Network(
        name="resnet1d",
        family=_SERIES_RESNET,
        arguments={},
        options={"width": 64, "z_normalization": True},
        dataset="ucr",
    ),
)
PATTERNS = ()
WEIGHTS = ()
DEFAULTS = {}
