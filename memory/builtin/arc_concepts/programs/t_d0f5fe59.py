"""As many cells on a diagonal as there are objects.

count = count objects(extract objects(input, touching by a side))
output = square of that size, its main diagonal in color 8
"""

Cell = tuple[int, int]


def transform(grid: list[list[int]]) -> list[list[int]]:
    left = {(row, col) for row, line in enumerate(grid) for col, color in enumerate(line) if color}
    count = 0
    while left:
        count += 1
        edge: list[Cell] = [left.pop()]
        while edge:
            row, col = edge.pop()
            near = left & {(row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)}
            left -= near
            edge.extend(near)
    return [[8 if row == col else 0 for col in range(count)] for row in range(count)]
