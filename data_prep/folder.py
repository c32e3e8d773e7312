"""Your own videos or recordings: any folder of them; the sub-folder is the label.

FOLDER holds videos (mp4, mov, mkv, webm, avi), folders of images, or recordings (wav, flac, ogg, mp3), in sub-folders
or not; the path of the sub-folder becomes the label. With --cuts a film becomes several clips where its scene changes.
With --faces every clip is cropped to the face in it; without, to the largest square in the middle. Test is a tenth of
the files of every label.
"""
import os
from pathlib import Path
import numpy as np
from diffsda.sound import BANDS, HOP, RATE, SEGMENT, log_mel
from diffsda.factors import BadInput, refuse
from diffsda.preparation import Clip, Source, parser, run, split_by
from diffsda.presets import PRESETS
from diffsda.speech import read_sound
from diffsda.video import (
    IMAGES, Cuts, ImageFolder, at_rate, cropped, detector, natural_order, one_face, open_frames, square)

VIDEOS = ('.mp4', '.m4v', '.mov', '.mkv', '.webm', '.avi', '.mpg', '.mpeg', '.ts')
SOUNDS = ('.wav', '.flac', '.sph', '.ogg', '.mp3')

def find_files(folder): # -> films (videos and folders of images), recordings: lists of Path
    films, sounds = [], []
    for top, _, files in os.walk(folder, followlinks=True):
        top = Path(top)
        if sum(f.lower().endswith(IMAGES) for f in files) > 1: films.append(top)
        films += [top / f for f in files if f.lower().endswith(VIDEOS)]
        sounds += [top / f for f in files if f.lower().endswith(SOUNDS)]
    return films, sounds

def sources(folder, args):
    films, sounds = find_files(folder)
    if args.sound and not sounds: refuse(folder, f'no recording in it ({", ".join(SOUNDS)})', '')
    if not args.sound and not films:
        mend = f'there are {len(sounds)} recordings: --sound takes those' if sounds else ''
        refuse(folder, f'no video in it ({", ".join(VIDEOS)}) and no folder of images', '', mend)
    def name(p): return p.relative_to(folder).as_posix()
    def label(p): return name(p.parent) if p != folder and p.parent != folder else ''
    files, by_label, side = natural_order(sounds if args.sound else films), {}, {}
    for p in files: by_label.setdefault(label(p), []).append(name(p))
    least = max(2 - len(by_label) // 2, 1) # some of every label; a swap needs two
    for names in by_label.values(): side |= split_by(names, args.test, least)
    return [Source(name(p), str(p), side[name(p)], {'label': label(p)}) for p in files]

def read(source, args):
    if args.sound:
        yield log_mel(read_sound(source.path)).numpy()
        return
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
    p.add_argument('--grow', type=float, default=1.6, help='side of the crop, in sides of the detected face')
    p.add_argument('--detector', default='haar',
                   help='haar, or MODULE:FUNCTION, from a frame (h, w, 3) to boxes (n, 4)')
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
