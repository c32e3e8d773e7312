"""What timit.py, librispeech.py and fsdd.py share: recordings to log-mel frames."""
from diffsda import speech
from diffsda.sound import BANDS, HOP, RATE, SEGMENT, log_mel
from diffsda.preparation import Source, parser, run

def labels(u): return {k: getattr(u, k) for k in ('speaker', 'content', 'sex') if getattr(u, k)}

def sources(folder, args, corpus):
    found = getattr(speech, corpus)(folder)
    short = lambda u: u.path.relative_to(folder).as_posix()
    return [Source(short(u), str(u.path), u.split, labels(u)) for u in found]

def read(source, args): yield log_mel(speech.read_sound(source.path)).numpy()

def program(doc, corpus, licence, expected):
    args = parser(doc, corpus, size=0).parse_args()
    run(args, corpus, lambda folder, args: sources(folder, args, corpus), read, dict(modality='sound', frame=[BANDS], rate=RATE / HOP, source=speech.CORPORA[corpus].source, licence=licence), expected, least=SEGMENT)
