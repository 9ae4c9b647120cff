"""What is done with a whole vault: grants, snapshots, branches, copies."""
