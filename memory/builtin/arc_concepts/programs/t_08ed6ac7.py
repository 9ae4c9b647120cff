"""Bars standing on the floor are colored by rank of height: the tallest 1, then 2, 3 and 4.

bars = vertical bars of color 5
ranked = sort by(bars, object height, tallest first)
recolor object(each of ranked, scheme = color by rank, from 1)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    heights = [sum(1 for color in column if color) for column in zip(*grid, strict=True)]
    ranked = sorted((height for height in heights if height), reverse=True)
    return [[ranked.index(heights[col]) + 1 if color else 0 for col, color in enumerate(row)] for row in grid]
