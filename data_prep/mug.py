"""MUG facial expressions: image sequences of 52 subjects to clips of their faces.

FOLDER is what the Multimedia Understanding Group gives on request (https://mug.ee.auth.gr/fed): JPEG sequences in
SUBJECT/EXPRESSION/TAKE/, with or without a session folder between. The six expressions are used, neutral is not.
Each sequence gets one box, from a Haar cascade on nine of its frames.
"""
import re
from diffsda.factors import refuse
from diffsda.files import walk
from diffsda.preparation import Source, face_options, left_over, parser, run, split_by, unread
from diffsda.faces import EXPRESSIONS
from diffsda.video import IMAGES, ImageFolder, cropped, detector, one_face, square

LAYOUT = re.compile(r'(?:^|/)(?P<subject>\d{3})/(?:(?P<session>session\w*)/)?'
                    rf'(?P<expression>{"|".join(EXPRESSIONS)})(?:/(?P<take>[^/]+))?$', re.I)

def sources(folder, args):
    files, left_out = walk(folder)
    def place(top): return LAYOUT.search(top.relative_to(folder).as_posix())
    found = [] # (path, subject, labels)
    for top in dict.fromkeys(p.parent for p in files if p.suffix.lower() in IMAGES):
        match = place(top)
        if not match: continue
        parts = {k: (v or '').lower() for k, v in match.groupdict().items()}
        found.append((top, '/'.join(v for v in parts.values() if v), parts))
    if not found:
        refuse(folder, 'no sequence in it', 'JPEGs in SUBJECT/EXPRESSION/TAKE, as 001/happiness/take000',
               'MUG is given on request at https://mug.ee.auth.gr/fed')
    def unit(name, parts): return parts['subject'] if args.unseen else name # what the split keeps together
    side = split_by([unit(name, parts) for _, name, parts in found], .25, 2)
    def why_not(p): return unread(p) if place(p.parent) else ''
    lost = left_over(folder, files, left_out, [top for top, *_ in found], why_not)
    return lost + [Source(name, str(top), side[unit(name, parts)], {k: parts[k] for k in ('subject', 'expression')})
            for top, name, parts in found]

def read(source, args):
    sequence = ImageFolder(source.path, fps=19)
    box = square(one_face(sequence, detector(args.detector)), sequence.height, sequence.width, args.grow)
    for part in sequence.read(): yield cropped(part, box, args.size)

if __name__ == '__main__':
    p = parser(__doc__, 'mug')
    p.add_argument('--unseen', action='store_true', help='the test quarter is other subjects; without it, '
                   'other sequences of the same ones, as in the literature')
    face_options(p, grow=1.2)
    args = p.parse_args()
    info = dict(modality='video', frame=[3, args.size, args.size], rate=19.,
                source='MUG: https://mug.ee.auth.gr/fed, on request',
                licence='agreement of the MUG group, research only')
    run(args, 'mug', sources, read, info, {'clips of 50 to 160 frames': 3429, 'subjects': 52}, least=15)
