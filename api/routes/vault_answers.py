"""Vaults and what belongs to them, as JSON; one conversion each. Source: contract §4."""

from __future__ import annotations

from typing import Any

from api.routes.memory_answers import iso
from memory.reviews import Review
from memory.vault.branch_merge import Clash, Merged
from memory.vault.branch_rows import Branch
from memory.vault.emptying import Emptied
from memory.vault.grants import VERBS, Given
from memory.vault.migrating import Moved
from memory.vault.rollback import Rolled
from memory.vault.snapshots import Difference, Item, Snapshot
from memory.vault.vaults import Shown


def vault_body(shown: Shown) -> dict[str, Any]:
    """A vault as the caller sees it."""
    vault = shown.vault
    return {
        "id": vault.id,
        "name": vault.name,
        "owner": vault.owner_id,
        "kind": vault.kind,
        "default_ttl_s": vault.default_ttl_s,
        "default_sensitivity": list(vault.default_sensitivity),
        "explore": vault.explore,
        "version": vault.version,
        "verbs": [verb for verb in VERBS if verb in shown.verbs],
        "memories": shown.memories,
        "locked_by": shown.locked_by,
        "created_at": iso(vault.created_at),
        "archived_at": iso(vault.archived_at),
    }


def erased_body(told: Emptied) -> dict[str, Any]:
    """What was erased of a vault."""
    return {
        "id": told.vault_id,
        "deleted": told.deleted,
        "at": iso(told.at),
        "memories": told.memories,
        "removed": dict(told.removed or {}),
        "stale": list(told.stale),
        "runs": list(told.runs),
        "pending": list(told.pending),
        "job": told.job_id,
    }


def grant_body(given: Given) -> dict[str, Any]:
    """A grant."""
    grant = given.grant
    return {
        "id": grant.id,
        "vault": grant.vault_id,
        "user": given.user,
        "context": grant.context,
        "verbs": [verb for verb in VERBS if verb in grant.verbs],
        "masked_tags": list(grant.masked_tags),
        "expires_at": iso(grant.expires_at),
        "max_reads": grant.max_reads,
        "reads_used": grant.reads_used,
        "created_at": iso(grant.created_at),
        "created_by": given.created_by,
    }


def snapshot_body(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot without its memories."""
    return {
        "id": snapshot.id,
        "vault": snapshot.vault_id,
        "label": snapshot.label,
        "parent": snapshot.parent_id,
        "at": iso(snapshot.at),
        "created_by": snapshot.created_by,
        "digest": snapshot.digest,
    }


def item_body(item: Item) -> dict[str, Any]:
    """A memory of a snapshot."""
    return {"memory": item.memory_id, "version": item.version, "state": item.state}


def difference_body(found: Difference) -> dict[str, Any]:
    """A memory that is not as it was."""
    then = None if found.then is None else item_body(found.then)
    return {"memory": found.memory_id, "what": found.what, "then": then, "now": item_body(found.now)}


def rolled_body(report: Rolled) -> dict[str, Any]:
    """What a rollback did."""
    return {
        "snapshot": report.snapshot_id,
        "restored": report.restored,
        "archived": report.archived,
        "purged": list(report.purged),
        "expired": list(report.expired),
        "equal": report.equal,
        "job": report.job_id,
    }


def branch_body(branch: Branch) -> dict[str, Any]:
    """A branch."""
    return {
        "name": branch.name,
        "vault": branch.vault_id,
        "base": branch.id,
        "at": iso(branch.at),
        "created_by": branch.created_by,
        "edits": branch.edits,
    }


def merged_body(merged: Merged) -> dict[str, Any]:
    """What a merge did."""
    lists = {name: list(getattr(merged, name)) for name in ("changed", "added", "deleted", "settled")}
    return {"branch": merged.branch.name, **lists}


def clash_body(clash: Clash) -> dict[str, Any]:
    """Why a memory cannot be merged."""
    return {
        "memory": clash.memory_id,
        "base": clash.base,
        "branch": clash.branch,
        "main": clash.main,
        "why": clash.why,
    }


def moved_body(moved: Moved) -> dict[str, Any]:
    """What was copied."""
    return {
        "from": moved.source_id,
        "to": moved.target_id,
        "copied": moved.copied,
        "duplicates": moved.duplicates,
        "merged": moved.merged,
        "ids": None if moved.ids is None else dict(moved.ids),
        "revoked": list(moved.revoked),
        "job": moved.job_id,
    }


def review_body(review: Review) -> dict[str, Any]:
    """An item of the inbox."""
    return {
        "id": review.id,
        "vault": review.vault_id,
        "kind": review.kind,
        "memory": review.memory_id,
        "other": review.other_id,
        "reason": review.reason,
        "evidence": dict(review.evidence),
        "state": review.state,
        "created_at": iso(review.created_at),
        "decided_at": iso(review.decided_at),
        "decided_by": review.decided_by,
    }
