"""A short run of ``make soak``: a killed server loses no event. The long run has 300 kills."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..soak.webhooks import kill_servers

if TYPE_CHECKING:
    from pathlib import Path


def test_killed_server_loses_no_event(tmp_path: Path) -> None:
    result = kill_servers(tmp_path, rounds=10, seed="0")
    assert result.kills == 10
    assert result.stored, "clients stored files before the kills"
    assert not result.lost, result
    assert not result.not_stored, result
    assert not result.invalid, result
