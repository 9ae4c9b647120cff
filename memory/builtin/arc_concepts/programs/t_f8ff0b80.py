"""The colors of the objects stand in a column, the largest object first.

objects = extract objects(input, one per color)
ranked = sort by(objects, object size, largest first)
output = column of the colors of ranked
"""

from collections import Counter


def transform(grid: list[list[int]]) -> list[list[int]]:
    sizes = Counter(color for row in grid for color in row if color)
    return [[color] for color, _ in sizes.most_common()]
