# SPDX-License-Identifier: Apache-2.0
"""A tiny ray tracer: small objects with methods, made by the million."""

import sys

scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0


class Vector:
    def __init__(self, x, y, z):
        self.x, self.y, self.z = x, y, z

    def __add__(self, other):
        return Vector(self.x + other.x, self.y + other.y, self.z + other.z)

    def __sub__(self, other):
        return Vector(self.x - other.x, self.y - other.y, self.z - other.z)

    def scale(self, by):
        return Vector(self.x * by, self.y * by, self.z * by)

    def dot(self, other):
        return self.x * other.x + self.y * other.y + self.z * other.z

    def unit(self):
        return self.scale(1 / self.dot(self) ** 0.5)


balls = [(Vector(i - 3, (i * 7) % 3 - 1, 6 + i % 4), 0.8) for i in range(7)]
light = Vector(-1, 1, -1).unit()
eye = Vector(0, 0, 0)


def shade(ray):
    nearest = None
    for centre, radius in balls:
        to = centre - eye
        along = to.dot(ray)
        gap = to.dot(to) - along * along
        if along > 0 and gap < radius * radius and (nearest is None or along < nearest[0]):
            nearest = along, (eye + ray.scale(along) - centre).unit()
    return max(0.0, nearest[1].dot(light)) if nearest else 0.0


size = max(8, round(250 * scale ** 0.5))
total = sum(shade(Vector(x / size - 0.5, y / size - 0.5, 1).unit())
            for y in range(size) for x in range(size))
print(round(total, 3))
