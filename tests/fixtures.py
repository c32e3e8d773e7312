"""Stand-ins for what the owners of datasets distribute: small, made here, in the true layout on the disk."""
import colorsys
from pathlib import Path
import numpy as np
from PIL import Image, ImageDraw


def puppet(draw, part, x, y, row, col, z): # PIL.ImageDraw, layer, corner of the cell, its place in the sheet, pixels a unit
    "One layer of one cell of a character sheet: limbs are lines, the rest is round."
    act, turn = ('cast', 'thrust', 'walk', 'slash', 'shoot', 'hurt')[row // 4], (0, -1, 0, 1)[row % 4]
    swing = 5 * np.sin(2 * np.pi * col / 8) if act == 'walk' else 0
    lift = {'walk': 0.4 * np.sin(2 * np.pi * col / 8), 'slash': 2.4 - 0.5 * col}.get(act, 0.4 * col)
    arms = [((32 + k * 8, 34), (32 + k * 8 + 12 * np.sin(k * 0.3 + lift * (turn or k)), 34 + 12 * np.cos(lift))) for k in (-1, 1)]
    legs = [((32 + k * 4, 46), (32 + k * 4 + k * swing * (0.4 + 0.6 * abs(turn)), 58 - (k * swing > 2))) for k in (-1, 1)]
    at = lambda *points: [(x + z * a, y + z * b) for a, b in points]
    line = lambda points, width: draw.line(at(*points), fill=255, width=width * z)
    ball = lambda cx, cy, rx, ry: draw.ellipse(at((cx - rx, cy - ry), (cx + rx, cy + ry)), fill=255)
    if part == 'body':
        ball(32 + turn, 24, 8, 9)
        ball(32, 40, 6, 10)
        for limb in arms + legs: line(limb, 5)
    if part == 'bottomwear':
        for leg in legs: line(leg, 7)
    if part == 'topwear':
        ball(32, 39, 9, 9)
        for a, b in arms: line((a, ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)), 7)
    if part == 'hair':
        ball(32 - 2 * turn, 18, 10, 6)
        if turn: ball(32 - 6 * turn, 24, 4, 8)
    if part == 'shoes':
        for _, (a, b) in legs: ball(a + turn * 2, b, 4, 2)


def make_sprite_sheets(folder): # is made; -> Path of the folder, which then holds the 25 sheets
    "As GitHub YingzhenLi/Sprites: PNGs of 832 x 1344 RGBA, here six tints of one silhouette a layer, with half-transparent edges."
    for i, part in enumerate(('body', 'bottomwear', 'topwear', 'hair', 'shoes')):
        mask = Image.new('L', (2 * 832, 2 * 1344))
        for cell in range(21 * 13): puppet(ImageDraw.Draw(mask), part, cell % 13 * 128, cell // 13 * 128, *divmod(cell, 13), 2)
        mask = mask.resize((832, 1344), Image.BOX)
        (Path(folder) / part).mkdir(parents=True, exist_ok=True)
        for v in (range(6) if part != 'shoes' else [1]):
            tint = colorsys.hsv_to_rgb((v / 6 + i / 17) % 1, (0.35, 0.8, 0.6, 0.9, 0.2)[i], (0.95, 0.6, 0.9, 0.7, 0.4)[i])
            sheet = Image.new('RGBA', (832, 1344), tuple(round(255 * c) for c in tint))
            sheet.putalpha(mask)
            sheet.save(Path(folder) / part / f'{v}.png', compress_level=1)
    return Path(folder)
