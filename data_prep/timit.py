"""TIMIT: ten sentences by each of 630 speakers, to log-mel frames.

FOLDER is LDC93S1 as the Linguistic Data Consortium ships it: TRAIN/DR1/FCJF0/SA1.WAV and so on, NIST SPHERE or RIFF.
Test are the 24 speakers of the core test, without the two sentences that everybody says; other test speakers are
"rest".
"""
from speech import program

if __name__ == '__main__': program(__doc__, 'timit', 'LDC user agreement', {'utterances': 6300, 'speakers': 630})
