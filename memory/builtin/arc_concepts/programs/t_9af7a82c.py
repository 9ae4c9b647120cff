"""A bar chart hangs from the top: one column for each color, as long as the color has cells, longest first.

counts = count cells(input, for each color)
ranked = sort by(counts, count, largest first)
output = one column for each of ranked, that many cells from the top
"""

from collections import Counter


def transform(grid: list[list[int]]) -> list[list[int]]:
    counts = Counter(color for row in grid for color in row).most_common()
    return [[color if row < count else 0 for color, count in counts] for row in range(counts[0][1])]
