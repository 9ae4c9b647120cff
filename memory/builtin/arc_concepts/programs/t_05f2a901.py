"""The figure of color 2 slides straight toward the square of color 8 until they touch.

figure, square = extract objects(input, one of color 2, one of color 8)
direction = from figure to square, along the axis on which they overlap
output = slide until contact(figure, direction, obstacle = square)
"""

Cell = tuple[int, int]


def transform(grid: list[list[int]]) -> list[list[int]]:
    def cells_of(wanted: int) -> set[Cell]:
        return {(row, col) for row, line in enumerate(grid) for col, color in enumerate(line) if color == wanted}

    figure, square = cells_of(2), cells_of(8)
    down = min(row for row, _ in square) - max(row for row, _ in figure)
    up = min(row for row, _ in figure) - max(row for row, _ in square)
    right = min(col for _, col in square) - max(col for _, col in figure)
    left = min(col for _, col in figure) - max(col for _, col in square)
    distance, step = max((down, (1, 0)), (up, (-1, 0)), (right, (0, 1)), (left, (0, -1)))
    output = [[8 if color == 8 else 0 for color in row] for row in grid]
    for row, col in figure:
        output[row + step[0] * (distance - 1)][col + step[1] * (distance - 1)] = 2
    return output
