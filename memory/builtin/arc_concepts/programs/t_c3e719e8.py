"""A copy of the picture stands in each block that lies where the picture has its most common color.

chosen = most common color(input)
output = empty grid, as many blocks as the input has cells, each as large as the input
for each cell of the input with the color chosen:
    copy per cell(the block at the same place, copy of the input)
"""

from collections import Counter


def transform(grid: list[list[int]]) -> list[list[int]]:
    chosen = Counter(color for row in grid for color in row).most_common(1)[0][0]
    size = range(len(grid))
    return [[grid[i][j] if grid[row][col] == chosen else 0 for col in size for j in size] for row in size for i in size]
