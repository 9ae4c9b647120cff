"""Search over anything that can make and compare answers.

A problem (base.py) makes complete answers and sets two of them side by side; `mcts` (mcts.py) decides which to make
next, and `best_of_n` and `beam` are the baselines with the same signature. The rules are a value (profile.py). What
happens comes as events (events.py), which make the tree (tree.py); `choose` (final.py) names the answer. Source:
empirical_mcts §2–§3; ours.
"""
