"""Each cell becomes a square of two by two cells.

output = upscale grid(input, factor = 2)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    return [[color for color in row for _ in range(2)] for row in grid for _ in range(2)]
