import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # tests/tiny.py and tests/kit.py, whichever folder pytest was given
