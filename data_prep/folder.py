"""Your own videos or recordings: any folder of them; the sub-folder is the label.

FOLDER holds videos (mp4, mov, mkv, webm, avi, mpg, wmv, gif ...), folders of images (jpg, png, webp, tif ...), or
recordings (wav, flac, mp3, m4a, opus ..., and the sound tracks of videos), in sub-folders or not; the path of the
sub-folder becomes the label. With --cuts a film becomes several clips where its scene changes. With --faces every clip
is cropped to the face in it; without, to the largest square in the middle. Test is a tenth of the files of every label;
where labels have one file each, a tenth of the labels. What cannot be read is listed in skipped.csv.
"""
import functools
import numpy as np
from diffsda.sound import BANDS, HOP, RATE, SEGMENT
from diffsda.factors import BadInput, refuse
from diffsda.files import walk
from diffsda.preparation import Clip, Source, face_options, left_over, name_hash, parser, run, split_by, unread
from diffsda.presets import PRESETS
from diffsda.speech import SOUNDS
from diffsda.video import (
    IMAGES, VIDEOS, Cuts, ImageFolder, at_rate, cropped, detector, natural_order, one_face, open_frames, square)
from speech import read as read_recording

def of_kind(files, suffixes): return [p for p in files if p.suffix.lower() in suffixes]

def find_films(files): # list of Path -> list of Path: videos, and folders of images
    videos, images = of_kind(files, VIDEOS), {}
    films = {p.with_suffix('') for p in videos}
    for p in of_kind(files, IMAGES): images.setdefault(p.parent, []).append(p)
    def sequence(inside): return len(inside) > 1 and not {p.with_suffix('') for p in inside} <= films # or thumbnails
    return videos + [folder for folder, inside in images.items() if sequence(inside)]

def split_files(by_label, # dict: label -> names of its files
                fraction, # for the test side
               ):         # dict: name -> 'train' or 'test'
    "Some files of every label; of labels with one file, some labels. Two to test on, as far as there are enough."
    alone = [names[0] for names in by_label.values() if len(names) == 1]
    side = {}
    for names in (*(names for names in by_label.values() if len(names) > 1), alone):
        side |= split_by(names, fraction)
    train = sorted((name for name in side if side[name] == 'train'), key=name_hash)
    lacking = min(2 - len(side) + len(train), len(train) - 1) if fraction else 0
    return side | dict.fromkeys(train[:max(lacking, 0)], 'test')

def why_not(path, sound): # Path that is not taken; are recordings taken? -> reason, '' if nothing is lost
    suffix = path.suffix.lower()
    if suffix in SOUNDS: return 'a recording; --sound takes those'
    if suffix in IMAGES and sound: return 'an image; without --sound, folders of images are taken'
    if suffix in IMAGES: return 'one image, or a thumbnail of a video; a folder of two or more images is a sequence'
    return unread(path)

def sources(folder, args):
    files, left_out = walk(folder)
    taken = of_kind(files, SOUNDS + VIDEOS) if args.sound else find_films(files)
    lost = left_over(folder, files, left_out, taken, functools.partial(why_not, sound=args.sound))
    if not taken:
        example = f'for example {lost[0].refused}' if lost else ''
        if args.sound: refuse(folder, f'no recording in it ({", ".join(SOUNDS)})', '', example)
        refuse(folder, f'no video in it ({", ".join(VIDEOS)}) and no folder of images', '', example)
    def name(p): return p.relative_to(folder).as_posix()
    def label(p): return name(p.parent) if p != folder and p.parent != folder else ''
    by_label = {}
    for p in natural_order(taken): by_label.setdefault(label(p), []).append(name(p))
    side = split_files(by_label, args.test)
    return [Source(name(p), str(p), side[name(p)], {'label': label(p)}) for p in taken] + lost

def read(source, args):
    if args.sound: return (yield from read_recording(source, args))
    film = open_frames(source.path)
    if max(film.height, film.width) > 3 * min(film.height, film.width):
        found = f'{film.width}x{film.height} pixels; of so narrow a strip a square would show little'
        refuse(source.path, found, '', 'crop it first')
    which = at_rate(film.times, 0 if isinstance(film, ImageFolder) else args.fps) # images have no rate of their own
    yield from read_faces(film, which, args) if args.faces else read_once(film, which, args)

def read_faces(film, which, args): # Video or ImageFolder; numbers of frames; a face needs a second reading
    cuts, starts, seen = Cuts(), [], 0
    for part in film.read(which if args.cuts else which[:0]):
        starts += [seen + i for i in cuts.find(part)]
        seen += len(part)
    for k, shot in enumerate(np.split(which, starts)):
        name = f'#{k}' if k else ''
        try: crop = square(one_face(film, detector(args.detector), shot), film.height, film.width, args.grow)
        except BadInput as e:
            yield Clip(name, refused=str(e))
            continue
        if k: yield Clip(name)
        for part in film.read(shot): yield cropped(part, crop, args.size)

def read_once(film, which, args): # the same, the square in the middle
    cuts, scene = Cuts(), 0
    for part in film.read(which):
        for k, shot in enumerate(np.split(part, cuts.find(part) if args.cuts else [])):
            if k:
                scene += 1
                yield Clip(f'#{scene}')
            if len(shot): yield cropped(shot, None, args.size)

def options(): # -> parser
    p = parser(__doc__, 'NAME')
    p.add_argument('--name', default='mine', help='of the dataset: -p dataset NAME finds it')
    p.add_argument('--sound', action='store_true', help='take the recordings')
    p.add_argument('--fps', type=float, default=12.5, help='frames a second taken of a video, no more than it has; '
                   '0: all. Folders of images are taken as they are')
    p.add_argument('--cuts', action='store_true', help='cut where the scene changes')
    p.add_argument('--faces', action='store_true', help='crop each clip to its face; without a face it is left out')
    face_options(p, grow=1.6)
    p.add_argument('--test', type=float, default=.1, help='fraction of the files of each label on the test side')
    return p

def check_name_and_test(args):
    if args.name in PRESETS:
        refuse(f'--name {args.name}', 'a name of a dataset or preset of the package', '', 'take another')
    if not args.test < 1: refuse(f'--test {args.test}', 'too large', 'a fraction below 1')
    if not args.name.isidentifier():
        refuse(f'--name {args.name}', 'it becomes a parameter and a folder', 'letters, digits and _ only')

if __name__ == '__main__':
    p = options()
    args = p.parse_args()
    try: check_name_and_test(args)
    except BadInput as e: p.exit(1, f'{p.prog}: {e}\n')
    if args.sound: kind = dict(modality='sound', frame=[BANDS], rate=RATE / HOP)
    else: kind = dict(modality='video', frame=[3, args.size, args.size], rate=args.fps)
    info, least = dict(kind, source='own files', licence='own'), SEGMENT if args.sound else 8
    run(args, args.name, sources, read, info, least=least)
