"""Background that the figure encloses gets color 4.

outside = flood fill(background, from the border)
output = inside of each closed frame: fill enclosed regions(background that is not outside, color 4)
"""

Cell = tuple[int, int]


def transform(grid: list[list[int]]) -> list[list[int]]:
    height, width = len(grid), len(grid[0])
    empty = {(row, col) for row in range(height) for col in range(width) if grid[row][col] == 0}
    edge: list[Cell] = [(row, col) for row, col in empty if row in (0, height - 1) or col in (0, width - 1)]
    enclosed = empty - set(edge)
    while edge:
        row, col = edge.pop()
        near = enclosed & {(row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)}
        enclosed -= near
        edge.extend(near)
    return [[4 if (row, col) in enclosed else grid[row][col] for col in range(width)] for row in range(height)]
