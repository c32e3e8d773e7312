"""VoxCeleb 1: faces of celebrities who are interviewed, at 25/6 frames a second.

FOLDER holds face tracks, as Albanie et al. (2018) gave them out, NAME/1.6/VIDEO/TRACK/*.jpg, taken as they are;
or as videos, ID/VIDEO/TRACK.mp4 at 25 frames a second, of which every sixth frame is taken. Test are the 40 speakers of the
verification split: those whose names begin with E, id10270 to id10309.
"""
import os, re
from pathlib import Path
from diffsda.factors import BadInput
from diffsda.preparation import Source, parser, run
from diffsda.video import PICTURES, at_rate, cropped, open_frames

LAYOUT = re.compile(r'(?:^|/)(?P<speaker>[^/]+)/(?:1\.6/)?(?P<video>[^/]+)/(?P<track>[^/]+)$')

def is_test(speaker): # a name or a number
    number = re.fullmatch(r'id(\d{5})', speaker)
    return 10270 <= int(number[1]) <= 10309 if number else speaker.upper().startswith('E')

def sources(folder, args):
    tracks = []
    for top, _, files in os.walk(folder, followlinks=True):
        if any(f.lower().endswith(PICTURES) for f in files): tracks.append(Path(top))
        tracks += [Path(top) / f for f in files if f.lower().endswith('.mp4')]
    found = [(t, LAYOUT.search((t.with_suffix('') if t.suffix == '.mp4' else t).relative_to(folder).as_posix())) for t in tracks]
    found = [(t, m) for t, m in found if m]
    if not found: raise BadInput(f'{folder}: no face track in it, expected NAME/1.6/VIDEO/TRACK/*.jpg or ID/VIDEO/TRACK.mp4; VoxCeleb is given on request at https://www.robots.ox.ac.uk/~vgg/data/voxceleb')
    return [Source('/'.join(m.groups()), str(t), 'test' if is_test(m['speaker']) else 'train', {k: m[k] for k in ('speaker', 'video')}) for t, m in found]

def read(source, args):
    track = open_frames(source.path, 25 / 6)
    for part in track.read(at_rate(track.times, 25 / 6)): yield cropped(part, None, args.size)

if __name__ == '__main__':
    args = parser(__doc__, 'voxceleb', 256).parse_args()
    run(args, 'voxceleb', sources, read, dict(modality='video', frame=[3, args.size, args.size], rate=25 / 6, source='VoxCeleb 1: https://www.robots.ox.ac.uk/~vgg/data/voxceleb, on request', licence='CC BY 4.0 for the dataset; the videos belong to their owners'),
        {'videos': 22496, 'chunks': 153516, 'speakers to train': 1211, 'to test': 40}, least=10)
