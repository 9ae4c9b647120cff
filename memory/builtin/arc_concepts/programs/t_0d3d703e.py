"""Colors change by a fixed table of pairs, the same in all examples: 1 and 5, 2 and 6, 3 and 4, 8 and 9 change places.

table = pairs of colors seen at the same place in all examples, read in both directions
output = recolor by color map(input, table)
"""

PAIRS = ((1, 5), (2, 6), (3, 4), (8, 9))


def transform(grid: list[list[int]]) -> list[list[int]]:
    table = dict(PAIRS) | {second: first for first, second in PAIRS}
    return [[table.get(color, color) for color in row] for row in grid]
