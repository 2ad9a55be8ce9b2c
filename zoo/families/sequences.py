"""Networks for time series."""

from ..network import INNER, SERIES, Family, Network

_SERIES_RESNET = Family(
    "resnet_keras.networks.sequences:series_resnet",
    {"z_normalization": (True, False)},
    inputs=SERIES,
    lacks={INNER: "of networks for series none is"},
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
