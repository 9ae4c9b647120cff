"""`builtin:arc-concepts`: concepts from ARC-AGI-1 training tasks that were solved by hand, to begin a memory with.

    programs/t_ID.py   one task: its rule and its steps (the docstring), and the program that gives all its outputs
    concepts.json      the concepts, each as the `data` of a memory of type `concept`; `used_in` names tasks
    loader             reads both; a concept becomes a draft with the programs that it was seen in as its sources

The steps of a task name the concepts that it uses, which is what `used_in` repeats. The programs stand alone, as a solver
writes them: none shares a helper with another. No task is part of an evaluation set. Source: arcmemo §2, §3.2; ours.
"""
