"""Errors that a person who starts a run can act on."""

from __future__ import annotations


class PipelineError(Exception):
    """A run, profile or override cannot go on; the first line of its text says why."""
