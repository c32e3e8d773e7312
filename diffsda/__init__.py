import os
if not {'OMP_WAIT_POLICY', 'GOMP_SPINCOUNT'} & set(os.environ): os.environ['GOMP_SPINCOUNT'] = '1000' # see pace
__version__ = "0.1.0"
