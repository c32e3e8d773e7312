"""GRID: talkers who say sentences of six words, seen from the front, to clips of their faces.

FOLDER holds the videos as their owners publish them (zenodo.org/records/3625687): s1/bbaf2n.mpg ..., with or without
further folders between. The talker is the folder s1, s2 ...; where there is none, index.csv (columns file, identity)
names it, or each video counts as a talker of its own. The file name says the sentence: bbaf2n is "bin blue at f two
now". Each clip is cropped to the face in it, as the London set is (london.py), with one box for all of its frames.
"""
import csv, re
from diffsda.factors import refuse
from diffsda.files import walk
from diffsda.preparation import Source, face_options, left_over, parser, run, split_by
from diffsda.video import VIDEOS, at_rate, cropped, detector, one_face, open_frames, square

WORDS = ( # of the six letters of a file name
    dict(b='bin', l='lay', p='place', s='set'), dict(b='blue', g='green', r='red', w='white'),
    dict(a='at', b='by', i='in', w='with'), {c: c for c in 'abcdefghijklmnopqrstuvxyz'},
    dict(zip('z123456789', 'zero one two three four five six seven eight nine'.split())),
    dict(a='again', n='now', p='please', s='soon'))
FROM = 'the corpus is at zenodo.org/records/3625687 (CC BY 4.0)'

def sentence(stem): # of a file name -> its words, '' for another name
    code = stem[-6:]
    known = len(code) == 6 and all(c in words for c, words in zip(code, WORDS))
    return ' '.join(words[c] for c, words in zip(code, WORDS)) if known else ''

def talkers(files): # -> {name of a file: talker}, of an index.csv
    table = next((p for p in files if p.name == 'index.csv'), None)
    if table is None: return {}
    with open(table, newline='', encoding='utf-8-sig') as f:
        return {row['file']: row['identity'] for row in csv.DictReader(f) if {'file', 'identity'} <= set(row)}

def sources(folder, args):
    files, left_out = walk(folder)
    films, named = [p for p in files if p.suffix.lower() in VIDEOS], talkers(files)
    if not films: refuse(folder, 'no video in it', 'those of the corpus, as s1/bbaf2n.mpg', FROM)
    def name(p): return p.relative_to(folder).as_posix()
    def who(p):
        m = re.search(r'(?:^|/)(s\d+)(?:/|_)', name(p))
        return m[1] if m else named.get(p.name, p.stem)
    side = split_by(map(who, films), .1, 2)
    return left_over(folder, files, left_out, films) + [
        Source(name(p), str(p), side[who(p)], {'subject': who(p), 'sentence': sentence(p.stem)}) for p in films]

def read(source, args):
    film = open_frames(source.path)
    which = at_rate(film.times, args.fps)
    box = square(one_face(film, detector(args.detector), which), film.height, film.width, args.grow)
    for part in film.read(which): yield cropped(part, box, args.size)

if __name__ == '__main__':
    p = parser(__doc__, 'grid')
    p.add_argument('--fps', type=float, default=0., help='frames a second; 0: all 25')
    face_options(p, grow=1.85)
    args = p.parse_args()
    info = dict(modality='video', frame=[3, args.size, args.size], rate=args.fps or 25., people='real',
                source='GRID audio-visual sentence corpus, M. Cooke, J. Barker, S. Cunningham, X. Shao (2006), '
                       'zenodo.org/records/3625687', licence='CC BY 4.0')
    run(args, 'grid', sources, read, info, least=8)
