"""The picture is drawn with itself as the brush: a copy of it stands wherever it has a colored cell.

output = empty grid, as many blocks as the input has cells, each as large as the input
for each colored cell of the input:
    copy per cell(the block at the same place, copy of the input)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    size = range(len(grid))
    return [[grid[i][j] if grid[row][col] else 0 for col in size for j in size] for row in size for i in size]
