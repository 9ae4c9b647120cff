"""What may become a memory."""
