"""Measures how long `import blindbox_attestation` takes: fresh interpreters with it and without it in turn, and what it imports by itself."""

import re
import statistics
import subprocess
import sys
import time

ROUNDS = 31


def start(code):
    began = time.perf_counter()
    subprocess.run([sys.executable, "-I", "-c", code], check=True)
    return time.perf_counter() - began


def own():
    """The time of the import itself in microseconds, of which `-X importtime` gives the sum."""
    command = [sys.executable, "-I", "-X", "importtime", "-c", "import blindbox_attestation"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stderr.splitlines()
    (line,) = [line for line in lines if re.search(r"\| blindbox_attestation$", line)]
    return int(line.split("|")[1])


start("import blindbox_attestation")
pairs = [(start("pass"), start("import blindbox_attestation")) for _ in range(ROUNDS)]
bare, imported = (statistics.median(times) * 1e3 for times in zip(*pairs))
cumulative = statistics.median(own() for _ in range(ROUNDS)) / 1e3
verdict = "met" if imported - bare < 20 else "MISSED"
print(f"import: {imported - bare:.1f} ms more than a bare interpreter ({imported:.1f} against {bare:.1f} ms); goal 20 ms  {verdict}")
print(f"import: {cumulative:.1f} ms by -X importtime, with the modules of Python that it imports")
