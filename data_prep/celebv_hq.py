"""CelebV-HQ: 35,666 clips of 15,653 faces, with 83 attributes.

FOLDER holds celebvhq_info.json and what the owners' scripts make of it (https://github.com/CelebV-HQ/CelebV-HQ):
processed/CLIP.mp4, already cut and cropped, or raw/YTB_ID.mp4, which are cut in time and cropped to their boxes here.
A clip that is in both is taken from processed/. Attributes become columns of clips.csv: 40 of appearance and 35 of
action as 0 or 1, and the emotion by name ("neutral", or "neutral+happy" where it changes). Test is a tenth of the
videos.
"""
import json
from diffsda.factors import refuse
from diffsda.files import expanded, reason_of
from diffsda.preparation import Source, check_there, open_once, parser, run, split_by, videos_of
from diffsda.video import at_rate, cropped, square

MARGIN = .02 # around the box, as a fraction of the frame: as in the owners' script

def labels(clip,  # dict, an entry of "clips"
           names, # dict, "meta_info"
          ):      # dict: column -> value
    given, out = clip['attributes'], {'video': clip['ytb_id']}
    mood = given['emotion']['labels']
    out['emotion'] = mood if isinstance(mood, str) else '+'.join(dict.fromkeys(m['emotion'] for m in mood))
    for kind in ('appearance', 'action'):
        out |= {f'{kind}: {name}': v for name, v in zip(names[f'{kind}_mapping'], given[kind], strict=True)}
    return out

def source_of(name, clip, names, split, folder, have): # id and entry of a clip; "meta_info"; its side; what is there
    if name in have['processed']: return Source(name, str(have['processed'][name]), split, labels(clip, names))
    part = {'from': clip['duration']['start_sec'], 'to': clip['duration']['end_sec'], **clip['bbox']}
    raw = have['raw'].get(clip['ytb_id'], folder / 'raw' / f'{clip["ytb_id"]}.mp4')
    return Source(name, str(raw), split, labels(clip, names), part)

def sources(folder, args):
    file = expanded(args.info) if args.info else folder / 'celebvhq_info.json'
    try: info = json.loads(file.read_text(encoding='utf-8-sig'))
    except (OSError, ValueError) as e:
        mend = 'take celebvhq_info.json again from github.com/CelebV-HQ/CelebV-HQ'
        refuse(file, f'cannot be read as JSON ({reason_of(e)})', '', mend)
    try:
        side = split_by([c['ytb_id'] for c in info['clips'].values()], .1, 2)
        have = {stage: videos_of(folder / stage) for stage in ('processed', 'raw')}
        return [source_of(name, c, info['meta_info'], side[c['ytb_id']], folder, have)
                for name, c in info['clips'].items()]
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        found = f'an entry of "clips" lacks {e}, or has another number of attributes than "meta_info" names'
        refuse(file, found, '', 'take the file again')

def owners_square(top, left, bottom, right, # of the box, as fractions of the frame
                  height, width,            # of the frame, pixels
                 ):                         # (left, top, side) pixels
    "The largest square inside the box, as in the owners' script; `square` alone would take the smallest around it."
    left, right, top, bottom = round(left * width), round(right * width), round(top * height), round(bottom * height)
    half = min(right - left, bottom - top) // 2
    x, y = (left + right) / 2, (top + bottom) / 2
    return square((x - half, y - half, x + half, y + half), height, width)

def where_and_when(source, film): # -> (left, top, side), start and end in seconds
    try:
        names = ('top', 'bottom', 'left', 'right', 'from', 'to')
        top, bottom, left, right, start, end = (float(source.part[k]) for k in names)
    except (KeyError, TypeError, ValueError):
        refuse(f'clip {source.id}', source.part, 'its times in seconds, and its box in fractions of the frame')
    top, left = (max(v - MARGIN, 0) for v in (top, left))
    bottom, right = (min(v + MARGIN, 1) for v in (bottom, right))
    return owners_square(top, left, bottom, right, film.height, film.width), start, end

def read(source, args):
    lost = f'nor is processed/{source.id}.mp4; the video is gone from YouTube, or its download failed'
    check_there(source.path, lost)
    film = open_once(source.path)
    box, start, end = where_and_when(source, film) if source.part else (None, 0, float('inf'))
    for part in film.read(at_rate(film.times, args.fps, start, end)): yield cropped(part, box, args.size)

if __name__ == '__main__':
    p = parser(__doc__, 'celebv_hq', 256)
    p.add_argument('--info', default='', help="the owners' JSON; '' is FOLDER/celebvhq_info.json")
    p.add_argument('--fps', type=float, default=0., help='frames a second; 0: all')
    args = p.parse_args()
    info = dict(modality='video', frame=[3, args.size, args.size], rate=args.fps or 25.,
                source='CelebV-HQ: https://github.com/CelebV-HQ/CelebV-HQ',
                licence='non-commercial research only; no redistribution, also not of derived data')
    run(args, 'celebv_hq', sources, read, info, {'clips': 35666, 'identities': 15653}, least=10)
