"""Builds the wheel (PEP 517, PEP 427): the module, with the program that `../build` put into it, for the platform of this machine."""

import base64
import hashlib
import pathlib
import re
import sysconfig
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
MODULE = HERE / "blindbox_emulator"
PROJECT = dict(re.findall(r'^(\w[\w-]*) = "(.*)"$', (HERE / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE))


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    if not (MODULE / "bin" / "blindbox-attest").exists():
        raise SystemExit("blindbox-emulator: run `bindings/emulator/build` first, which builds the program")
    tag = "py3-none-" + re.sub(r"[-.]", "_", sysconfig.get_platform())
    name = f"blindbox_emulator-{PROJECT['version']}"
    info = f"{name}.dist-info"
    readme = HERE / "README.md"  # `../package` puts it there.
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {PROJECT['name']}\nVersion: {PROJECT['version']}\n"
        f"Summary: {PROJECT['description']}\nLicense: Apache-2.0\nRequires-Python: {PROJECT['requires-python']}\n"
        "Description-Content-Type: text/markdown\n\n" + (readme.read_text(encoding="utf-8") if readme.exists() else ""),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: blindbox-emulator\nRoot-Is-Purelib: false\nTag: {tag}\n",
        f"{info}/entry_points.txt": "[pytest11]\nblindbox_emulator = blindbox_emulator.pytest_plugin\n",
    }
    files = {path: text.encode() for path, text in files.items()}
    for path in sorted(MODULE.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".new":
            files[path.relative_to(HERE).as_posix()] = path.read_bytes()
    record = ""
    with zipfile.ZipFile(pathlib.Path(wheel_directory) / f"{name}-{tag}.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, content in files.items():
            entry = zipfile.ZipInfo(path)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if "/bin/" in path else 0o100644) << 16
            wheel.writestr(entry, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record += f"{path},sha256={digest},{len(content)}\n"
        wheel.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return f"{name}-{tag}.whl"
