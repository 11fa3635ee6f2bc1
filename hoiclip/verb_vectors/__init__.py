"""Verb vectors by visual semantic arithmetic (HOICLIP section 3.4)."""
