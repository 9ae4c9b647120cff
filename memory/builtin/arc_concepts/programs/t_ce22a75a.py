"""Each cell of color 5 becomes a square of three by three cells of color 1.

for each source cell of color 5:
    stamp pattern(solid square of nine cells, at the cell, color 1)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    output = [row[:] for row in grid]
    for row, line in enumerate(grid):
        for col in range(len(line)):
            near = [other[max(col - 1, 0) : col + 2] for other in grid[max(row - 1, 0) : row + 2]]
            if any(5 in part for part in near):
                output[row][col] = 1
    return output
