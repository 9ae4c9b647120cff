"""The grid, and its mirror image to the right of it.

image = reflect grid(input, axis = vertical)
output = concatenate grids([input, image], direction = to the right)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    return [row + row[::-1] for row in grid]
