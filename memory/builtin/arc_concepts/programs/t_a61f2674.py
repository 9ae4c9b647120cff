"""Of several bars only the tallest, in color 1, and the shortest, in color 2, remain.

bars = vertical bars of color 5
tallest = select extreme object(bars, object height, largest)
shortest = select extreme object(bars, object height, smallest)
output = tallest in color 1 and shortest in color 2 on empty ground
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    heights = {
        col: sum(1 for color in column if color) for col, column in enumerate(zip(*grid, strict=True)) if any(column)
    }
    tallest, shortest = max(heights, key=heights.__getitem__), min(heights, key=heights.__getitem__)
    kept = {tallest: 1, shortest: 2}
    return [[kept.get(col, 0) if color else 0 for col, color in enumerate(row)] for row in grid]
