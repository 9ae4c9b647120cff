"""Of the small figures the one that occurs most often is shown once.

objects = extract objects(input, one color each, touching by side or corner)
shapes = crop to bounding box(each of objects)
output = most frequent shape(shapes)
"""

from collections import Counter

Cell = tuple[int, int]


def objects_of(cells: set[Cell]) -> list[set[Cell]]:
    """The cells in groups that hang together by sides or corners."""
    left, groups = set(cells), []
    while left:
        group: set[Cell] = set()
        edge = [left.pop()]
        while edge:
            row, col = edge.pop()
            group.add((row, col))
            near = left & {(row + i, col + j) for i in (-1, 0, 1) for j in (-1, 0, 1)}
            left -= near
            edge.extend(near)
        groups.append(group)
    return groups


def transform(grid: list[list[int]]) -> list[list[int]]:
    shapes: Counter[tuple[tuple[int, ...], ...]] = Counter()
    cells = {(row, col) for row, line in enumerate(grid) for col, color in enumerate(line) if color}
    for figure in objects_of(cells):
        rows, cols = [row for row, _ in figure], [col for _, col in figure]
        box = [line[min(cols) : max(cols) + 1] for line in grid[min(rows) : max(rows) + 1]]
        shapes[tuple(tuple(row) for row in box)] += 1
    return [list(row) for row in shapes.most_common(1)[0][0]]
