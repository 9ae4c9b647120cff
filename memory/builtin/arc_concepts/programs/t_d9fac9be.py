"""One cell is ringed by eight cells of another color; its color is the answer.

enclosed = cell whose eight neighbours share one color that is not its own and not the background
output = single cell answer(color of enclosed)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    for row in range(1, len(grid) - 1):
        for col in range(1, len(grid[0]) - 1):
            block = [color for line in grid[row - 1 : row + 2] for color in line[col - 1 : col + 2]]
            ring = set(block[:4] + block[5:])
            if len(ring) == 1 and ring not in ({0}, {block[4]}):
                return [[block[4]]]
    return [[0]]
