"""`mneme demo-data`: a home full of things to look at, made through the same doors as everything else.

    filling     the order of it: the service is opened, chapters are told, what was made is written down
    house       what a chapter works with, and the clock of the story
    remembered  memories (texts in memories.toml), and what people did with them
    asked       runs of every agent, runs that ended badly, runs that measure lessons
    evaluated   evaluations with the runner of `mneme eval`
    speaking    the script that speaks for the model (script.toml, tim.toml) and the data of the evaluations

Source: ours.
"""

from api.demo_data.filling import Filled, fill

__all__ = ["Filled", "fill"]
