"""Memories of one kind in the order in which they came, without sorting the whole vault for a page of them."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_memories_type", "memories", ["vault_id", "semantic_type", "seq"], unique=False)
