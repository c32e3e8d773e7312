"""Your own videos or recordings: any folder of them, the sub-folder is the label.

FOLDER holds videos (mp4, mov, mkv, webm, avi), folders of pictures, or recordings (wav, flac, ogg, mp3), in sub-folders or not;
the path of the sub-folder becomes the label. With --cuts a film becomes several clips where its scene changes. With --faces every
clip is cropped to the face in it; without, to the largest square in the middle. Test is a tenth of the files of every label.
"""
import os
from pathlib import Path
import numpy as np
from diffsda.sound import BANDS, HOP, RATE, SEGMENT, log_mel
from diffsda.factors import BadInput
from diffsda.preparation import Clip, Source, parser, run, split_by
from diffsda.presets import PRESETS
from diffsda.speech import read_sound
from diffsda.video import PICTURES, Cuts, Pictures, at_rate, cropped, detector, in_order, one_face, open_frames, square

VIDEOS, SOUNDS = ('.mp4', '.m4v', '.mov', '.mkv', '.webm', '.avi', '.mpg', '.mpeg', '.ts'), ('.wav', '.flac', '.sph', '.ogg', '.mp3')

def sources(folder, args):
    films, sounds = [], []
    for top, _, files in os.walk(folder, followlinks=True):
        top = Path(top)
        if sum(f.lower().endswith(PICTURES) for f in files) > 1: films.append(top)
        films += [top / f for f in files if f.lower().endswith(VIDEOS)]
        sounds += [top / f for f in files if f.lower().endswith(SOUNDS)]
    if args.sound and not sounds: raise BadInput(f'{folder}: no recording in it ({", ".join(SOUNDS)})')
    if not args.sound and not films: raise BadInput(f'{folder}: no video in it ({", ".join(VIDEOS)}) and no folder of pictures' + (f'; there are {len(sounds)} recordings: --sound takes those' if sounds else ''))
    name = lambda p: p.relative_to(folder).as_posix()
    label = lambda p: name(p.parent) if p != folder and p.parent != folder else ''
    together = {}
    for p in in_order(sounds if args.sound else films): together.setdefault(label(p), []).append(name(p))
    side = {n: s for names in together.values() for n, s in split_by(names, args.test, least=max(2 - len(together) // 2, 1)).items()} # some of every label; a swap needs two
    return [Source(name(p), str(p), side[name(p)], {'label': label(p)}) for p in in_order(sounds if args.sound else films)]

def read(source, args):
    if args.sound: yield log_mel(read_sound(source.path)).numpy(); return
    film = open_frames(source.path)
    if max(film.height, film.width) > 3 * min(film.height, film.width): raise BadInput(f'{source.path}: {film.width}x{film.height} pixels; of so narrow a strip a square would show little: crop it first')
    which = at_rate(film.times, 0 if isinstance(film, Pictures) else args.fps) # pictures have no rate of their own
    if not args.faces: yield from once_through(film, which, args); return
    cuts, starts, seen = Cuts(), [], 0
    for part in film.read(which if args.cuts else which[:0]): starts += [seen + i for i in cuts.find(part)]; seen += len(part)
    for k, shot in enumerate(np.split(which, starts)): # a face needs a second look
        name = f'#{k}' if k else ''
        try: box = square(one_face(film, detector(args.detector), shot), film.height, film.width, args.grow)
        except BadInput as e: yield Clip(name, refused=str(e)); continue
        if k: yield Clip(name)
        for part in film.read(shot): yield cropped(part, box, args.size)

def once_through(film, which, args):
    cuts, scene = Cuts(), 0
    for part in film.read(which):
        for k, shot in enumerate(np.split(part, cuts.find(part) if args.cuts else [])):
            if k: scene += 1; yield Clip(f'#{scene}')
            if len(shot): yield cropped(shot, None, args.size)

if __name__ == '__main__':
    p = parser(__doc__, 'NAME')
    p.add_argument('--name', default='mine', help='of the dataset: -p dataset NAME finds it')
    p.add_argument('--sound', action='store_true', help='take the recordings')
    p.add_argument('--fps', type=float, default=12.5, help='frames a second taken of a video, no more than it has; 0: all. Folders of pictures are taken as they are')
    p.add_argument('--cuts', action='store_true', help='cut where the scene changes')
    p.add_argument('--faces', action='store_true', help='crop each clip to the face in it; a clip without one is left out')
    p.add_argument('--grow', type=float, default=1.6, help='side of the crop, in sides of the detected face')
    p.add_argument('--detector', default='haar', help='haar, or MODULE:FUNCTION, from a picture (h, w, 3) to boxes (n, 4)')
    p.add_argument('--test', type=float, default=.1, help='share of the files of each label on the test side')
    args = p.parse_args()
    if args.name in PRESETS: p.exit(1, f'{p.prog}: --name {args.name}: a name of a dataset or preset of the package; take another\n')
    if not args.test < 1: p.exit(1, f'{p.prog}: --test {args.test}: expected a share below 1\n')
    if not args.name.isidentifier(): p.exit(1, f'{p.prog}: --name {args.name}: letters, digits and _ only, for it becomes a parameter and a folder\n')
    kind = dict(modality='sound', frame=[BANDS], rate=RATE / HOP) if args.sound else dict(modality='video', frame=[3, args.size, args.size], rate=args.fps)
    run(args, args.name, sources, read, dict(kind, source='own files', licence='own'), least=SEGMENT if args.sound else 8)
