"""One cell tells whether cells of color 8 lead from one square of color 2 to the other: 8 if so, else 0.

path = flood fill(cells of color 2 and 8, from one cell of color 2, by sides and corners)
connected = all cells of color 2 are in path
output = single cell answer(color 8 if connected else background)
"""

Cell = tuple[int, int]


def transform(grid: list[list[int]]) -> list[list[int]]:
    left = {(row, col) for row, line in enumerate(grid) for col, color in enumerate(line) if color}
    squares = {(row, col) for row, col in left if grid[row][col] == 2}
    edge: list[Cell] = [min(squares)]
    left.remove(edge[0])
    while edge:
        row, col = edge.pop()
        near = left & {(row + i, col + j) for i in (-1, 0, 1) for j in (-1, 0, 1)}
        left -= near
        edge.extend(near)
    return [[0 if left & squares else 8]]
