"""Square tiles in a row or a column have the same shape in different colors, except one; that one is shown.

tiles = split grid(input, squares as wide as the shorter side)
output = odd one out(tiles, compared by shape without color)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    size = min(len(grid), len(grid[0]))
    tiles = [
        [row[left : left + size] for row in grid[top : top + size]]
        for top in range(0, len(grid), size)
        for left in range(0, len(grid[0]), size)
    ]
    shapes = [[[bool(color) for color in row] for row in tile] for tile in tiles]
    return next(tile for tile, shape in zip(tiles, shapes, strict=True) if shapes.count(shape) == 1)
