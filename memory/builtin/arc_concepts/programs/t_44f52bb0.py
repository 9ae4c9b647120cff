"""One cell tells whether the picture is the same as its left-right mirror image: 1 if it is, 7 if it is not.

symmetric = symmetry test(input, axis = vertical), true of a symmetric pattern
output = single cell answer(color 1 if symmetric else color 7)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    symmetric = all(row == row[::-1] for row in grid)
    return [[1 if symmetric else 7]]
