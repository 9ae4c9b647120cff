"""Everything moves down by one row.

output = translate object(whole figure, one down)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    return [[0] * len(grid[0]), *grid[:-1]]
