"""Each cell of color 5 gets a ring of color 1 around it.

for each source cell of color 5:
    stamp pattern(ring of eight cells, at the cell, color 1)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    output = [row[:] for row in grid]
    for row, line in enumerate(grid):
        for col, color in enumerate(line):
            near = [other[max(col - 1, 0) : col + 2] for other in grid[max(row - 1, 0) : row + 2]]
            if color != 5 and any(5 in part for part in near):
                output[row][col] = 1
    return output
