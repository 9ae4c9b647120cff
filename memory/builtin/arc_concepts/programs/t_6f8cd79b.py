"""A border of color 8 runs around the empty grid.

output = draw border(input, color 8)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    height, width = len(grid), len(grid[0])
    return [
        [8 if row in (0, height - 1) or col in (0, width - 1) else grid[row][col] for col in range(width)]
        for row in range(height)
    ]
