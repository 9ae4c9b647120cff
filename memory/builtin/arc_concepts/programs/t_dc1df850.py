"""Each cell of color 2 gets a ring of color 1 around it, cut off at the border; other colors get none.

for each source cell of color 2:
    stamp pattern(ring of eight cells, at the cell, color 1)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    output = [row[:] for row in grid]
    for row, line in enumerate(grid):
        for col, color in enumerate(line):
            near = [other[max(col - 1, 0) : col + 2] for other in grid[max(row - 1, 0) : row + 2]]
            if color == 0 and any(2 in part for part in near):
                output[row][col] = 1
    return output
