"""CelebV-HQ: 35,666 clips of 15,653 faces, with 83 attributes.

FOLDER holds celebvhq_info.json and what the owners' scripts make of it (https://github.com/CelebV-HQ/CelebV-HQ):
processed/CLIP.mp4, already cut and cropped, or raw/YTB_ID.mp4, which are cut in time and cropped to their boxes here; a clip that
is in both is taken from processed/. Attributes become columns of clips.csv: 40 of appearance and 35 of action as 0 or 1,
and the emotion by name ("neutral", or "neutral+happy" where it changes). Test is a tenth of the videos.
"""
import functools, json
from pathlib import Path
from diffsda.factors import BadInput
from diffsda.preparation import Source, parser, run, split_by
from diffsda.video import Video, at_rate, cropped, square

MARGIN = .02 # of the picture, around the box: as the owners' script has it
open_once = functools.lru_cache(1)(Video)

def labels(clip, names): # an entry of "clips", "meta_info" -> dict
    given = clip['attributes']
    out = {f'{kind}: {n}': v for kind in ('appearance', 'action') for n, v in zip(names[f'{kind}_mapping'], given[kind], strict=True)}
    mood = given['emotion']['labels']
    return {'video': clip['ytb_id'], 'emotion': mood if isinstance(mood, str) else '+'.join(dict.fromkeys(m['emotion'] for m in mood)), **out}

def sources(folder, args):
    file = Path(args.info) if args.info else folder / 'celebvhq_info.json'
    try: info = json.loads(file.read_text(encoding='utf-8'))
    except (OSError, ValueError) as e: raise BadInput(f'{file}: cannot be read as JSON ({e}); take celebvhq_info.json again from github.com/CelebV-HQ/CelebV-HQ') from None
    try:
        side = split_by([c['ytb_id'] for c in info['clips'].values()], .1)
        whole = lambda name: folder / 'processed' / f'{name}.mp4'
        return [Source(name, str(whole(name) if whole(name).exists() else folder / 'raw' / f'{c["ytb_id"]}.mp4'), side[c['ytb_id']], labels(c, info['meta_info']),
                       {} if whole(name).exists() else {'from': c['duration']['start_sec'], 'to': c['duration']['end_sec'], **c['bbox']}) for name, c in info['clips'].items()]
    except (KeyError, TypeError, ValueError, AttributeError) as e: raise BadInput(f'{file}: an entry of "clips" lacks {e}, or has another number of attributes than "meta_info" names; take the file again') from None

def owners_square(top, left, bottom, right, height, width): # shares of the picture, its pixels -> (left, top, side)
    "The largest square inside the box, as in the owners' script; `square` would take the smallest around it."
    box = round(left * width), round(top * height), round(right * width), round(bottom * height)
    half = min(box[2] - box[0], box[3] - box[1]) // 2
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return square((x - half, y - half, x + half, y + half), height, width)

def read(source, args):
    if not Path(source.path).exists(): raise BadInput(f'{source.path}: not there, nor is processed/{source.id}.mp4 (the video is gone from YouTube, or its download failed)')
    film, box, start, end = open_once(source.path), None, 0, float('inf')
    if source.part:
        try: top, bottom, left, right, start, end = (float(source.part[k]) for k in ('top', 'bottom', 'left', 'right', 'from', 'to'))
        except (KeyError, TypeError, ValueError): raise BadInput(f'clip {source.id}: {source.part} are not the times and the box (shares of the picture) that were expected') from None
        box = owners_square(*(max(v - MARGIN, 0) for v in (top, left)), *(min(v + MARGIN, 1) for v in (bottom, right)), film.height, film.width)
    for part in film.read(at_rate(film.times, args.fps, start, end)): yield cropped(part, box, args.size)

if __name__ == '__main__':
    p = parser(__doc__, 'celebv_hq', 256)
    p.add_argument('--info', default='', help="the owners' JSON; '': FOLDER/celebvhq_info.json")
    p.add_argument('--fps', type=float, default=0., help='frames a second; 0: all')
    args = p.parse_args()
    run(args, 'celebv_hq', sources, read, dict(modality='video', frame=[3, args.size, args.size], rate=args.fps or 25., source='CelebV-HQ: https://github.com/CelebV-HQ/CelebV-HQ', licence='non-commercial research only; no redistribution, also not of derived data'),
        {'clips': 35666, 'identities': 15653}, least=10)
