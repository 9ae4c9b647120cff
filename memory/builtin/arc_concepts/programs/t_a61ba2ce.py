"""Four corner pieces, each a square of two with one cell missing, are put together as the corners of a square of four.

pieces = extract objects(input, one per color)
for each piece:
    gap = the empty cell of its bounding box
    translate object(piece, to the quarter of the output in which the gap points to the middle)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    output = [[0] * 4 for _ in range(4)]
    for wanted in {color for row in grid for color in row if color}:
        cells = [(row, col) for row, line in enumerate(grid) for col, color in enumerate(line) if color == wanted]
        top, left = min(row for row, _ in cells), min(col for _, col in cells)
        piece = {(row - top, col - left) for row, col in cells}
        ((gap_row, gap_col),) = {(0, 0), (0, 1), (1, 0), (1, 1)} - piece
        for row, col in piece:
            output[row + 2 * (1 - gap_row)][col + 2 * (1 - gap_col)] = wanted
    return output
