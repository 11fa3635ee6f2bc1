from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import PipelineError
from pipelines.graph import needed_for, stage_graph


def test_nodes_and_edges_are_those_of_dvc_yaml(project: Path) -> None:
    graph = stage_graph(project)
    assert set(graph.edges) == {
        ("tracked.txt.dvc", "numbers"),
        ("numbers", "double@0"),
        ("numbers", "double@1"),
        ("double@0", "score"),
        ("double@1", "score"),
    }
    assert [name for name, tracked in graph.nodes(data="tracked_file") if tracked] == [
        "tracked.txt.dvc"
    ]


def test_a_target_keeps_what_is_upstream_of_it(project: Path) -> None:
    graph = stage_graph(project)
    assert set(needed_for(graph, None)) == set(graph)
    assert set(needed_for(graph, "double@1")) == {"tracked.txt.dvc", "numbers", "double@1"}
    assert set(needed_for(graph, "double")) == set(graph) - {"score"}
    assert needed_for(graph, "numbers").nodes["tracked.txt.dvc"]["tracked_file"]


def test_an_unknown_target_is_one_line_with_the_stages(project: Path) -> None:
    with pytest.raises(PipelineError, match=r"no stage 'doub'\. Stages: .*numbers, score") as info:
        needed_for(stage_graph(project), "doub")
    assert "\n" not in str(info.value)


def test_a_project_without_stages_is_empty(project: Path) -> None:
    (project / "dvc.yaml").unlink()
    (project / "tracked.txt.dvc").unlink()
    assert len(stage_graph(project)) == 0


def test_a_folder_without_dvc_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="no DVC graph"):
        stage_graph(tmp_path)
