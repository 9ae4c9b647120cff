"""Small blocks have one prevailing color and some others; the others are listed from the most to the least frequent.

counts = count cells(input, for each color)
rare = counts without the largest
output = column of colors, sort by(rare, count, largest first)
"""

from collections import Counter


def transform(grid: list[list[int]]) -> list[list[int]]:
    counts = Counter(color for row in grid for color in row if color)
    return [[color] for color, _ in counts.most_common()[1:]]
