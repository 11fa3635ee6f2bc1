"""The methods by name: the one list of them."""

from __future__ import annotations

from importlib import import_module

from hoiclip.contract.method import Method

# Imported when one is asked for: a model file of one method needs no other's code.
METHODS = {
    "clip_distill": "hoiclip.methods.clip_distill.model.method:ClipDistillMethod",
    "hoiclip": "hoiclip.methods.hoiclip.model.method:HoiclipMethod",
    "gen_vlkt": "hoiclip.methods.gen_vlkt.model.method:GenVlktMethod",
}


def method_named(name: str) -> type[Method]:
    """The method's class.

    Raises:
        KeyError: there is none of this name.
    """
    module, attribute = METHODS[name].split(":")
    return getattr(import_module(module), attribute)
