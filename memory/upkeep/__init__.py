"""What keeps the indexes and the states of memories true while time passes."""
