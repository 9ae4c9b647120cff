"""Rows become columns: the grid is mirrored on its main diagonal.

output = reflect grid(input, axis = main diagonal)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    return [list(column) for column in zip(*grid, strict=True)]
