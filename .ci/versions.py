"""Checks the output of `cargo metadata` on standard input: the minimum version of Rust, and the minimum versions of dependencies."""

import json
import sys

msrv = sys.argv[1]
metadata = json.load(sys.stdin)
packages = {package["id"]: package for package in metadata["packages"]}
faults = []


def number(text):
    return [int(part) for part in text.split(".")][:2]


for package in packages.values():
    if package["rust_version"] and number(package["rust_version"]) > number(msrv):
        faults.append("{name} {version} needs Rust {rust_version}".format(**package) + f": expected at most {msrv}")

# What is tested is what is locked. A requirement of an earlier version would promise more than that.
root = metadata["resolve"]["root"]
(node,) = [node for node in metadata["resolve"]["nodes"] if node["id"] == root]
locked = {}
for dependency in node["deps"]:
    package = packages[dependency["pkg"]]
    locked.setdefault(package["name"], set()).add(package["version"].split("+")[0])
checked = 0
for dependency in packages[root]["dependencies"]:
    # This crate itself, for its tests.
    if dependency["name"] == packages[root]["name"]:
        continue
    checked += 1
    least = dependency["req"].removeprefix("^")
    if least not in locked.get(dependency["name"], set()):
        found = ", ".join(sorted(locked.get(dependency["name"], {"none"})))
        faults.append(f"Cargo.toml requires {dependency['name']} {dependency['req']}: expected the locked version, {found}")

print(f"{len(packages)} packages need Rust {msrv} at most; {checked} requirements are the locked versions")
sys.exit("\n".join(faults) or 0)
