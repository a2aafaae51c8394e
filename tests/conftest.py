"""Before torch is imported: waiting OpenMP threads sleep. Spinning ones make a shared machine up to 50 times slower."""

import os

from hypothesis import settings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("KMP_BLOCKTIME", "0")

settings.register_profile("patient", deadline=None)  # a busy machine is no failed property
settings.load_profile("patient")
