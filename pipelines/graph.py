"""The stages of dvc.yaml and their order: the only graph this project has."""

from __future__ import annotations

import os
from pathlib import Path

import networkx as nx
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage import PipelineStage, Stage

from pipelines.errors import PipelineError


def stage_graph(root: str | Path) -> nx.DiGraph:
    """Reads the DAG of a DVC project.

    Args:
        root: the project's folder, the one with `.dvc`.

    Returns:
        A graph with one node per stage, named as `dvc repro` takes it (`train`, or `train@0` where
        dvc.yaml has a matrix), and an edge from each stage to every stage that needs its outputs.
        Nodes of `.dvc` files (tracked data, no command) carry `tracked_file=True`.

    Raises:
        PipelineError: `root` is no DVC project, or its dvc.yaml is wrong.
    """
    try:
        with Repo(str(root)) as repo:
            index = repo.index.graph
            names = {stage: _name(stage, repo.root_dir) for stage in index}
    except DvcException as error:
        raise PipelineError(f"{root}: no DVC graph to read: {error}") from error
    graph = nx.DiGraph()
    # DVC's edges point from a stage to the ones it depends on.
    for stage in index:
        graph.add_node(names[stage], tracked_file=stage.is_data_source)
    graph.add_edges_from((names[source], names[stage]) for stage, source in index.edges)
    return graph


def _name(stage: Stage, root: str) -> str:
    """The stage as `dvc repro` takes it in `root`; DVC's own is relative to the current folder."""
    path = os.path.relpath(stage.path, root)
    if not isinstance(stage, PipelineStage):
        return path
    return stage.name if path == "dvc.yaml" else f"{path}:{stage.name}"


def needed_for(graph: nx.DiGraph, target: str | None) -> nx.DiGraph:
    """Cuts a stage graph down to a target and everything upstream of it.

    Args:
        graph: as from `stage_graph`.
        target: a stage, the name of a matrix (then all its stages), or None for the whole graph.

    Raises:
        PipelineError: there is no such stage.
    """
    if target is None:
        return graph
    wanted = {node for node in graph if node == target or node.startswith(f"{target}@")}
    if not wanted:
        raise PipelineError(
            f"dvc.yaml: no stage '{target}'. Stages: {', '.join(sorted(graph)) or 'none'}"
        )
    upstream = set().union(*(nx.ancestors(graph, node) for node in wanted))
    return graph.subgraph(wanted | upstream)
