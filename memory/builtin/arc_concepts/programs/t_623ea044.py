"""One cell sends rays along all four diagonals to the border.

source cell = the only colored cell
draw ray(source cell, each diagonal direction)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    row, col, color = next((r, c, color) for r, line in enumerate(grid) for c, color in enumerate(line) if color)
    return [[color if abs(r - row) == abs(c - col) else 0 for c in range(len(grid[0]))] for r in range(len(grid))]
