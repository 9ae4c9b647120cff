"""Everything moves down by one row and turns from color 8 into 2.

moved = translate object(whole figure, one down)
output = recolor by color map(moved, {8: 2})
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    moved = [[0] * len(grid[0]), *grid[:-1]]
    return [[2 if color == 8 else color for color in row] for row in moved]
