"""LibriSpeech: audio books, to log-mel frames.

FOLDER is any part of it (https://www.openslr.org/12): SPEAKER-CHAPTER-NUMBER.flac, in its folders or all in one.
Where test-clean or test-other is there, that is the test side; else a fifth of the speakers.
"""
from speech import program

if __name__ == '__main__': program(__doc__, 'librispeech', 'CC BY 4.0', {'speakers to train': 921, 'unseen': 80})
