"""The stages of the dvc.yaml files and their order: the only graph this project has."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import networkx as nx
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage import PipelineStage, Stage

from pipelines.errors import PipelineError
from pipelines.methods import stage_file

_ROOT_FILE = "dvc.yaml"


def stage_graph(root: str | Path) -> nx.DiGraph:
    """Reads the DAG of a DVC project.

    Args:
        root: the project's folder, the one with `.dvc`.

    Returns:
        A graph with one node per stage, named as `dvc repro` takes it (`train`, or `train@0` where
        dvc.yaml has a matrix, `methods/x/dvc.yaml:train` in another folder), and an edge from each
        stage to every stage that needs its outputs. Nodes carry `file`, where the stage stands,
        and `stage`, its name there; those of `.dvc` files (tracked data, no command) carry
        `tracked_file=True`.

    Raises:
        PipelineError: `root` is no DVC project, or its dvc.yaml is wrong.
    """
    try:
        with Repo(str(root)) as repo:
            index = repo.index.graph
            files = {stage: os.path.relpath(stage.path, repo.root_dir) for stage in index}
            names = {stage: stage_name(stage, repo.root_dir) for stage in index}
    except DvcException as error:
        raise PipelineError(f"{root}: no DVC graph to read: {error}") from error
    graph = nx.DiGraph()
    # DVC's edges point from a stage to the ones it depends on.
    for stage in index:
        graph.add_node(
            names[stage],
            tracked_file=stage.is_data_source,
            file=files[stage],
            stage=stage.name if isinstance(stage, PipelineStage) else None,
        )
    graph.add_edges_from((names[source], names[stage]) for stage, source in index.edges)
    return graph


def stage_name(stage: Stage, root: str) -> str:
    """The stage as `dvc repro` takes it in the project's folder `root`."""
    file = os.path.relpath(stage.path, root)
    if not isinstance(stage, PipelineStage):
        return file
    return stage.name if file == _ROOT_FILE else f"{file}:{stage.name}"


def needed_for(
    graph: nx.DiGraph, target: str | Sequence[str] | None, method: str | None = None
) -> nx.DiGraph:
    """Cuts a stage graph down to a target and everything upstream of it.

    Args:
        graph: as from `stage_graph`.
        target: one or several, each a stage, the name of a matrix (then all its stages) or a
            dvc.yaml (likewise); none for what `dvc repro` without a name runs: the stages of the
            root's dvc.yaml. A name that the root's dvc.yaml does not have is looked for in the
            method's, then in all.
        method: the chosen one.

    Raises:
        PipelineError: there is no such stage, or there are several.
    """
    targets: Sequence[str | None] = (
        [target or None] if isinstance(target, str) else target or [None]
    )
    wanted = set().union(*(_wanted(graph, each, method) for each in targets))
    upstream = set().union(*(nx.ancestors(graph, node) for node in wanted))
    return graph.subgraph(wanted | upstream)


def _wanted(graph: nx.DiGraph, target: str | None, method: str | None) -> set[str]:
    files = nx.get_node_attributes(graph, "file")
    of_file = {node for node in graph if files[node] == (target or _ROOT_FILE)}
    if target is None or of_file:
        return of_file
    found = {node for node in graph if node == target or node.startswith(f"{target}@")}
    if found:
        return found
    for node, stage in graph.nodes(data="stage"):
        if stage is not None and (stage == target or stage.startswith(f"{target}@")):
            found.add(node)
    chosen = {node for node in found if method and files[node] == stage_file(method)}
    if chosen:
        return chosen
    if not found:
        raise PipelineError(
            f"dvc.yaml: no stage '{target}'. Stages: {', '.join(sorted(graph)) or 'none'}"
        )
    if len({files[node] for node in found}) > 1:
        raise PipelineError(
            f"stage '{target}' is none of the chosen method's. Name one: {', '.join(sorted(found))}"
        )
    return found
