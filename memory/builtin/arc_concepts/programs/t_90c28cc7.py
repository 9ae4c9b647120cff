"""Rectangles fill a larger one; each becomes a single cell, in the same arrangement.

mosaic of solid rectangles = crop to bounding box(all colored cells)
rows = remove repeated lines(mosaic, rows)
output = remove repeated lines(rows, columns)
"""

from itertools import groupby


def transform(grid: list[list[int]]) -> list[list[int]]:
    rows = [row for row, _ in groupby(grid) if any(row)]
    columns = [column for column, _ in groupby(zip(*rows, strict=True)) if any(column)]
    return [list(row) for row in zip(*columns, strict=True)]
