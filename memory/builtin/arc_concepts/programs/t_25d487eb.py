"""A triangle has one cell of another color in the middle of its base; from its tip a ray of that color goes on outward.

mark = color key(the only cell of the odd color)
direction = from the mark into the triangle, away from the background behind it
draw ray(tip of the triangle, direction, color of the mark)
"""

from collections import Counter


def transform(grid: list[list[int]]) -> list[list[int]]:
    height, width = len(grid), len(grid[0])
    mark = Counter(color for row in grid for color in row if color).most_common()[-1][0]
    row, col = next((r, c) for r in range(height) for c in range(width) if grid[r][c] == mark)

    def at(r: int, c: int) -> int:
        return grid[r][c] if 0 <= r < height and 0 <= c < width else 0

    directions = ((-1, 0), (1, 0), (0, -1), (0, 1))
    down, right = next((i, j) for i, j in directions if at(row + i, col + j) and not at(row - i, col - j))
    output = [line[:] for line in grid]
    while 0 <= row < height and 0 <= col < width:
        output[row][col] = output[row][col] or mark
        row, col = row + down, col + right
    return output
