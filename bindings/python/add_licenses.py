"""Adds files to the directory `licenses` of a wheel (PEP 639), and to its record: `add_licenses.py WHEEL FILE...`."""

import base64
import hashlib
import pathlib
import sys
import zipfile

wheel = pathlib.Path(sys.argv[1])
with zipfile.ZipFile(wheel) as old:
    entries = [(entry, old.read(entry)) for entry in old.infolist()]
(record,) = [entry for entry, _ in entries if entry.filename.endswith(".dist-info/RECORD")]
lines = dict((entry.filename, content) for entry, content in entries)[record.filename].decode()
directory = record.filename.rpartition("/")[0] + "/licenses"
with zipfile.ZipFile(wheel.with_suffix(".new"), "w", zipfile.ZIP_DEFLATED, compresslevel=9) as new:
    for entry, content in entries:
        if entry is not record:
            new.writestr(entry, content, zipfile.ZIP_DEFLATED, 9)
    for path in map(pathlib.Path, sys.argv[2:]):
        content = path.read_bytes()
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        new.writestr(f"{directory}/{path.name}", content)
        lines = f"{directory}/{path.name},sha256={digest},{len(content)}\n" + lines
    new.writestr(record.filename, lines)
wheel.with_suffix(".new").replace(wheel)
