"""A wallpaper repeats in both directions; the holes of color 0 are filled from where it repeats.

repeating pattern with a period: the smallest step after which all known cells agree, downward and to the right
tile = known color for each place within one period
output = extend repeating pattern(tile, to the size of the input)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    cells = [(row, col, color) for row, line in enumerate(grid) for col, color in enumerate(line) if color]
    for period in range(1, len(grid)):
        tile: dict[tuple[int, int], int] = {}
        agrees = all(tile.setdefault((row % period, col % period), color) == color for row, col, color in cells)
        if agrees and len(tile) == period * period:
            return [[tile[row % period, col % period] for col in range(len(grid[0]))] for row in range(len(grid))]
    return grid
