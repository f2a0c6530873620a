"""Every group of figures runs, in sizes too small to mean anything: the table is made elsewhere, on a quiet machine."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GROUPS = [path.stem for path in sorted((ROOT / "benchmarks").glob("*.py")) if "def figures(" in path.read_text("utf-8")]


def benchmarks(*arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_every_module_with_figures_is_listed() -> None:
    assert sorted(benchmarks("--list").split()) == GROUPS


def test_a_name_that_no_group_has_is_refused_with_those_there_are() -> None:
    command = [sys.executable, "-m", "benchmarks", "nonesuch"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 2
    assert "ping" in ran.stderr


@pytest.mark.parametrize("group", GROUPS)
def test_a_quick_run_measures_every_figure_and_what_stands_beside_it(group: str, tmp_path: Path) -> None:
    printed = benchmarks(group, "--quick", "--json", str(tmp_path / "run.json"), "--markdown", str(tmp_path / "run.md"))
    figures = json.loads((tmp_path / "run.json").read_text("utf-8"))["figures"]
    assert figures
    for figure in figures:
        assert figure["name"] in printed
        assert all(math.isfinite(figure[value]) and figure[value] > 0 for value in ("ours", "beside", "ratio")), figure
    assert (tmp_path / "run.md").read_text("utf-8").strip() == printed.strip()
