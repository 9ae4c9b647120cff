"""Four copies of the grid around a centre, each turned a quarter further clockwise.

top left = input
top right = rotate grid(input, 90 degrees clockwise)
bottom right = rotate grid(input, 180 degrees)
bottom left = rotate grid(input, 90 degrees counterclockwise)
output = concatenate grids(the four, as a square)
"""

import numpy as np


def transform(grid: list[list[int]]) -> list[list[int]]:
    square = np.array(grid)
    top = np.hstack([square, np.rot90(square, -1)])
    bottom = np.hstack([np.rot90(square, 1), np.rot90(square, 2)])
    return [[int(color) for color in row] for row in np.vstack([top, bottom])]
