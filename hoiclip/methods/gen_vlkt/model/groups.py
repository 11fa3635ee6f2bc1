"""What of GEN-VLKT learns at which rate."""

from __future__ import annotations

from typing import Any

from hoiclip.methods.gen_vlkt.model.config import GenVlktConfig
from hoiclip.methods.gen_vlkt.model.network import GenVlkt
from hoiclip.set_prediction.model.parameter_groups import DetectorRates, parameter_groups


def gen_vlkt_groups(
    network: GenVlkt, rates: DetectorRates, config: GenVlktConfig
) -> list[dict[str, Any]]:
    """Parameters at the rates of training, and tables with their biases at `lr_classifiers`.

    See `hoiclip.set_prediction.model.parameter_groups.parameter_groups`.
    """
    tables = (network.classifier_parameters(), config.lr_classifiers)
    return parameter_groups(network, network.encoder.backbone, rates, [tables])
