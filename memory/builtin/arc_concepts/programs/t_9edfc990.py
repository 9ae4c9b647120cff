"""Color 1 flows into all background that it touches, by sides; other empty cells stay.

output = flood fill(background, from the cells of color 1, color 1)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    height, width = len(grid), len(grid[0])
    output = [row[:] for row in grid]
    edge = [(row, col) for row in range(height) for col in range(width) if grid[row][col] == 1]
    while edge:
        row, col = edge.pop()
        for r, c in ((row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)):
            if 0 <= r < height and 0 <= c < width and output[r][c] == 0:
                output[r][c] = 1
                edge.append((r, c))
    return output
