"""The holes of square frames are filled with a color for their size: one cell 6, two by two 7, three by three 8.

holes = extract objects(background inside each closed frame)
for each hole:
    fill enclosed regions(hole, scheme = color by size {1: 6, 4: 7, 9: 8})
"""

Cell = tuple[int, int]
COLOR_OF_SIZE = {1: 6, 4: 7, 9: 8}


def transform(grid: list[list[int]]) -> list[list[int]]:
    height, width = len(grid), len(grid[0])
    output = [row[:] for row in grid]
    left = {(row, col) for row in range(height) for col in range(width) if grid[row][col] == 0}
    while left:
        region: set[Cell] = set()
        edge = [left.pop()]
        while edge:
            row, col = edge.pop()
            region.add((row, col))
            near = left & {(row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)}
            left -= near
            edge.extend(near)
        if not any(row in (0, height - 1) or col in (0, width - 1) for row, col in region):
            for row, col in region:
                output[row][col] = COLOR_OF_SIZE[len(region)]
    return output
