"""MUG facial expressions: image sequences of 52 subjects to clips of their faces.

FOLDER is what the Multimedia Understanding Group hands out on request (https://mug.ee.auth.gr/fed): JPEG sequences in
SUBJECT/EXPRESSION/TAKE/, with or without a session folder between. The six expressions are used, neutral is not.
Each sequence gets one box, from a Haar cascade on nine of its frames.
"""
import os, re
from pathlib import Path
from diffsda.factors import BadInput
from diffsda.preparation import Source, parser, run, split_by
from diffsda.faces import EXPRESSIONS
from diffsda.video import PICTURES, Pictures, cropped, detector, one_face, square

LAYOUT = re.compile(rf'(?:^|/)(?P<subject>\d{{3}})/(?:(?P<session>session\w*)/)?(?P<expression>{"|".join(EXPRESSIONS)})(?:/(?P<take>[^/]+))?$', re.I)

def sources(folder, args):
    found = []
    for top, _, files in os.walk(folder, followlinks=True):
        match = LAYOUT.search(Path(top).relative_to(folder).as_posix())
        if match and any(f.lower().endswith(PICTURES) for f in files): found.append((top, {k: (v or '').lower() for k, v in match.groupdict().items()}))
    if not found: raise BadInput(f'{folder}: no sequence in it, expected JPEGs in SUBJECT/EXPRESSION/TAKE, as 001/happiness/take000; MUG is given on request at https://mug.ee.auth.gr/fed')
    name = lambda m: '/'.join(v for v in m.values() if v)
    side = split_by([m['subject'] if args.unseen else name(m) for _, m in found], .25)
    return [Source(name(m), top, side[m['subject'] if args.unseen else name(m)], {k: m[k] for k in ('subject', 'expression')}) for top, m in found]

def read(source, args):
    sequence = Pictures(source.path, fps=19)
    box = square(one_face(sequence, detector(args.detector)), sequence.height, sequence.width, args.grow)
    for part in sequence.read(): yield cropped(part, box, args.size)

if __name__ == '__main__':
    p = parser(__doc__, 'mug')
    p.add_argument('--grow', type=float, default=1.2, help='side of the crop, in sides of the detected face')
    p.add_argument('--unseen', action='store_true', help='the test quarter is other subjects; without it, other sequences of the same ones, as in the literature')
    p.add_argument('--detector', default='haar', help='haar, or MODULE:FUNCTION, from a picture (h, w, 3) to boxes (n, 4)')
    args = p.parse_args()
    run(args, 'mug', sources, read, dict(modality='video', frame=[3, args.size, args.size], rate=19., source='MUG: https://mug.ee.auth.gr/fed, on request', licence='agreement of the MUG group, research only'),
        {'clips of 50 to 160 frames': 3429, 'subjects': 52}, least=15)
