"""VoxCeleb 1: faces of celebrities in interviews, at 25/6 frames a second.

FOLDER holds face tracks as Albanie et al. (2018) distributed them, NAME/1.6/VIDEO/TRACK/*.jpg, taken as they are;
or as videos, ID/VIDEO/TRACK.mp4 at 25 frames a second, of which every sixth frame is taken. Test are the 40 speakers of
the verification split: those whose names begin with E, id10270 to id10309.
"""
import re
from pathlib import Path
from diffsda.factors import refuse
from diffsda.files import walk
from diffsda.preparation import Source, left_over, parser, run, unread
from diffsda.speech import SOUNDS
from diffsda.video import IMAGES, VIDEOS, at_rate, cropped, open_frames

LAYOUT = re.compile(r'(?:^|/)(?P<speaker>[^/]+)/(?:1\.6/)?(?P<video>[^/]+)/(?P<track>[^/]+)$')

def is_test(speaker): # a name or a number
    number = re.fullmatch(r'id(\d{5})', speaker)
    return 10270 <= int(number[1]) <= 10309 if number else speaker.upper().startswith('E')

def sources(folder, args):
    files, left_out = walk(folder)
    tracks = [p for p in files if p.suffix.lower() in VIDEOS]
    tracks += dict.fromkeys(p.parent for p in files if p.suffix.lower() in IMAGES)
    found = []
    for track in tracks:
        place = track.with_suffix('') if track.suffix.lower() in VIDEOS else track
        match = LAYOUT.search(place.relative_to(folder).as_posix())
        if not match: continue
        labels = {k: match[k] for k in ('speaker', 'video')}
        split = 'test' if is_test(match['speaker']) else 'train'
        found.append(Source('/'.join(match.groups()), str(track), split, labels))
    if not found:
        refuse(folder, 'no face track in it', 'NAME/1.6/VIDEO/TRACK/*.jpg or ID/VIDEO/TRACK.mp4',
               'VoxCeleb is given on request at https://www.robots.ox.ac.uk/~vgg/data/voxceleb')
    def why_not(p): return '' if p.suffix.lower() in SOUNDS else unread(p) # the sound of VoxCeleb may lie beside it
    lost = left_over(folder, files, left_out, [Path(s.path) for s in found], why_not)
    return found + lost

def read(source, args):
    track = open_frames(source.path, 25 / 6)
    for part in track.read(at_rate(track.times, 25 / 6)): yield cropped(part, None, args.size)

if __name__ == '__main__':
    args = parser(__doc__, 'voxceleb', 256).parse_args()
    info = dict(modality='video', frame=[3, args.size, args.size], rate=25 / 6,
                source='VoxCeleb 1: https://www.robots.ox.ac.uk/~vgg/data/voxceleb, on request',
                licence='CC BY 4.0 for the dataset; the videos belong to their owners')
    expected = {'videos': 22496, 'chunks': 153516, 'speakers to train': 1211, 'to test': 40}
    run(args, 'voxceleb', sources, read, info, expected, least=10)
