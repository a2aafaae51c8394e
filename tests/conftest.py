"""Before torch is imported: waiting OpenMP threads sleep. Spinning ones make a shared machine up to 50 times slower."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("KMP_BLOCKTIME", "0")
