"""Face Research Lab London Set: 102 people, a neutral and a smiling photograph of each, to clips of one smile.

FOLDER holds the photographs in one of three layouts. As the owners publish them (figshare, doi
10.6084/m9.figshare.5047666, or GitHub debruine/webmorphR.stim): 001_03.jpg neutral, 001_08.jpg smiling, in any
sub-folders, with london_faces_info.csv; they are cut to a square of 4.2 pupil distances. Or already cut:
neutral/001.jpg and smiling/001.jpg, with landmarks.npz and index.csv. Or already morphed: 001_0.jpg ... 001_8.jpg.
A clip is a morph from neutral to the smile and back (nbs/37_morphs.ipynb). Frame k shows the same strength in every
clip, so the right answer of every swap is known. 22 people are on the test side. --between adds people who do not
exist: each lies between two people of the training side.
"""
import csv, re
from collections import defaultdict
from functools import lru_cache
from pathlib import Path
import numpy as np
import torch
from diffsda.detectors import open_detector
from diffsda.factors import refuse
from diffsda.files import walk
from diffsda.morphs import between_people, smile
from diffsda.preparation import Source, left_over, parser, run, split_by, unread
from diffsda.video import IMAGES, cropped, read_image, square

FROM = 'the London set is on figshare: doi 10.6084/m9.figshare.5047666 (CC BY 4.0)'
SHAPES = { # layout: of a name below FOLDER, with the person and which of the pictures it is
    'cut': r'(?:^|/)(?P<which>neutral|smiling)/(?P<who>\d{3})\.',
    'owners': r'(?:^|/)(?P<who>\d{3})_(?P<which>03|08)\.',
    'morphs': r'(?:^|/)(?P<who>\d{3})_(?P<which>\d)\.'}
EYES = slice(36, 42), slice(42, 48) # of 68 landmarks
SIDE, HEIGHT = 4.2, .45 # of the square, in pupil distances; how far down the pupils lie in it
TABLES = ('index.csv', 'london_faces_info.csv', 'london_info.csv')

def people(folder, files): # Path, its files -> layout, {person: {which: path}}; the one with most people
    found = {layout: defaultdict(dict) for layout in SHAPES}
    for p in files:
        name = p.relative_to(folder).as_posix()
        for layout, shape in SHAPES.items():
            m = re.search(shape, name) if p.suffix.lower() in IMAGES else None
            if m: found[layout][m['who']].setdefault(m['which'], p)
    layout = max(found, key=lambda k: sum(len(v) > 1 for v in found[k].values()))
    return layout, found[layout]

def about(folder, files): # -> {person: {age, gender, ethnicity}}, as they said themselves; {} without a table
    places = [p for p in (*files, *folder.parent.glob('*.csv')) if p.name in TABLES]
    if not places: return {}
    with open(places[0], newline='', encoding='utf-8-sig') as f: rows = list(csv.DictReader(f))
    names = {'face_age': 'age', 'face_gender': 'gender', 'face_sex': 'gender', 'face_eth': 'ethnicity', 'face_id': 'id'}
    rows = [{names.get(k, k): v for k, v in row.items()} for row in rows]
    kept = ('age', 'gender', 'ethnicity')
    return {row['id'].lstrip('X')[:3].zfill(3): {k: row[k] for k in kept if k in row} for row in rows if 'id' in row}

def sources(folder, args):
    files, left_out = walk(folder)
    layout, found = people(folder, files)
    alone = {who: next(iter(which.values())) for who, which in found.items() if len(which) < 2}
    if len(alone) == len(found): refuse(folder, 'no person with two pictures', '001_03.jpg and 001_08.jpg', FROM)
    side, labels = split_by(found.keys() - alone.keys(), 22 / 102, 2), about(folder, files)
    taken = [p for which in found.values() for p in which.values()]
    points = next((str(p) for p in files if p.name == 'landmarks.npz'), '') if layout == 'cut' else ''
    lost = left_over(folder, files, left_out, taken, lambda p: '' if p.suffix.lower() in IMAGES else unread(p))
    def part(which): return dict(layout=layout, points=points, pictures=[str(which[k]) for k in sorted(which)])
    lost += [Source(who, str(p), refused=f'{p}: the only picture of {who}; two are needed') for who, p in alone.items()]
    real = [Source(who, str(min(which.values())), side[who], {'subject': who} | labels.get(who, {}), part(which))
            for who, which in sorted(found.items()) if who not in alone]
    train = [r for r in real if r.split == 'train'][:args.people or None]
    return lost + train + [r for r in real if r.split != 'train'] + between(train, args.between)

def between(people, n): # Sources -> n more, each with two of them and how far from the first to the second it is
    if not n: return []
    if people[0].part['layout'] == 'morphs' or len(people) < 2:
        refuse('--between', 'morphs without landmarks, or one person', 'two photographs of each of several people')
    draw, labels = np.random.default_rng(0), {k: '' for k in people[0].labels}
    def one(k):
        a, b = (people[i] for i in draw.choice(len(people), 2, replace=False))
        name = f'between_{k:04}_{a.id}_{b.id}'
        return Source(name, a.path, 'train', labels | {'subject': name},
                      a.part | dict(other=b.part['pictures'], of=draw.uniform(size=2).tolist()))
    return [one(k) for k in range(n)]

@lru_cache(1)
def detector(name, weights): return open_detector(name, **(dict(weights=weights) if weights else {}))

def marked(path, detector): # of a photograph -> (h, w, 3), its 68 landmarks in pixels
    picture = read_image(path)
    points, found = detector.landmarks(torch.from_numpy(picture.transpose(2, 0, 1).copy())[None])
    if not found.all(): refuse(path, f'{detector.name} finds no face', 'a face from the front', 'leave the person out')
    return picture, points[0].numpy()

def cut(pictures, points, args): # two photographs -> the same squares of both, and the points in them
    eyes = np.stack([points[0][e].mean(0) for e in EYES])
    side, (x, y) = SIDE * np.linalg.norm(eyes[1] - eyes[0]), eyes.mean(0)
    left, top = x - side / 2, y - HEIGHT * side
    left, top, side = square((left, top, left + side, top + side), *pictures[0].shape[:2])
    size, k = args.cut, args.cut / side
    small = [cropped(p[None], (left, top, side), size)[0].transpose(1, 2, 0) for p in pictures]
    return small, [(p + .5 - [left, top]) * k - .5 for p in points]

def photographs(paths, part, args): # 03 before 08, neutral before smiling -> two pictures, their landmarks
    if part['points']:
        table = np.load(part['points'], allow_pickle=False)
        return [read_image(p) for p in paths], [table[f'{Path(p).parent.name}_{Path(p).stem}'] for p in paths]
    pictures, points = zip(*(marked(p, detector(args.points, args.weights)) for p in paths))
    return cut(pictures, points, args) if part['layout'] == 'owners' else (pictures, points)

def read(source, args):
    part = source.part
    if part['layout'] == 'morphs':
        up = [read_image(p) for p in part['pictures']]
        yield cropped(np.stack(up + up[-2::-1]), None, args.size)
        return
    person = photographs(part['pictures'], part, args)
    if 'other' in part: person = between_people(person, photographs(part['other'], part, args), *part['of'])
    yield cropped(smile(*person[0], *person[1], args.strengths), None, args.size)

if __name__ == '__main__':
    p = parser(__doc__, 'london')
    p.add_argument('--strengths', type=int, default=9, help='pictures from neutral to the smile; a clip has twice as '
                   'many less one')
    p.add_argument('--between', type=int, default=0, help='so many people more for training, each between two of them')
    p.add_argument('--people', type=int, default=0, help='so many people for training, the first by name; 0: all')
    p.add_argument('--points', default='face-api', choices=['face-api', 'dlib'], help='detector of the '
                   'landmarks, where no landmarks.npz is (nbs/58_detectors.ipynb)')
    p.add_argument('--weights', default='', help="folder of its weights; '' is where they usually are")
    p.add_argument('--cut', type=int, default=256, help='pixels of the square in which the owners\' photographs are '
                   'morphed')
    args = p.parse_args()
    info = dict(modality='video', frame=[3, args.size, args.size], rate=25., aligned=True, people='real',
                source='Face Research Lab London Set, L. DeBruine and B. Jones (2017), doi 10.6084/m9.figshare.5047666',
                licence='CC BY 4.0')
    run(args, 'london', sources, read, info, least=3)
