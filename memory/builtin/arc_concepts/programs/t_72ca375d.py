"""Of several objects the one that is its own left-right mirror image is cut out.

objects = extract objects(input, one per color)
for each object: figure = crop to bounding box(object)
output = the symmetric pattern among them: the one that passes symmetry test(figure, axis = vertical)
"""


def transform(grid: list[list[int]]) -> list[list[int]]:
    figures = []
    for wanted in sorted({color for row in grid for color in row if color}):
        rows = [row for row, line in enumerate(grid) if wanted in line]
        cols = [col for col, line in enumerate(zip(*grid, strict=True)) if wanted in line]
        figures.append([line[cols[0] : cols[-1] + 1] for line in grid[rows[0] : rows[-1] + 1]])
    return next(figure for figure in figures if all(row == row[::-1] for row in figure))
