"""Checks the Containerfiles, the bill of materials, and the Kubernetes files that it is given. Called by `check`."""

import json
import re
import subprocess
import sys
from pathlib import Path

here = Path(__file__).resolve().parent
faults = []


def containerfile(path):
    """What a linter would ask for: pinned bases, sources that exist, nothing that a shell would interpret at the end."""
    stages, user, entry = [], None, None
    text = path.read_text().replace("\\\n", " ")
    for line in (line.strip() for line in text.splitlines()):
        if not line or line.startswith("#"):
            continue
        instruction, _, rest = line.partition(" ")
        words = rest.split()
        if instruction == "FROM":
            if not re.fullmatch(r"[a-z0-9./-]+(:[a-z0-9.-]+|/cc-debian12)( AS [a-z]+)?", rest) or ":latest" in rest:
                faults.append(f"{path.name}: {line}: expected an image with a registry and a tag")
            stages.append(words[2] if len(words) == 3 else "")
            user = entry = None
        elif instruction == "COPY":
            stage = next((word.removeprefix("--from=") for word in words if word.startswith("--from=")), None)
            if stage is None:
                for source in words[:-1]:
                    if not (here.parent / source).exists():
                        faults.append(f"{path.name}: {line}: {source} does not exist")
            elif stage not in stages[:-1]:
                faults.append(f"{path.name}: {line}: there is no earlier stage {stage}")
        elif instruction == "USER":
            user = rest
        elif instruction == "ENTRYPOINT":
            entry = json.loads(rest)
        elif instruction not in ("WORKDIR", "ARG", "RUN", "EXPOSE"):
            faults.append(f"{path.name}: {instruction} is not expected here")
    if len(stages) != 2 or not re.fullmatch(r"\d+:\d+", user or "") or not entry or not entry[0].startswith("/"):
        faults.append(f"{path.name}: expected two stages, and a numeric USER and an absolute ENTRYPOINT in the last")


def kubernetes(path):
    import yaml

    documents = list(yaml.safe_load_all(path.read_text()))
    maps = {document["metadata"]["name"] for document in documents if document["kind"] == "ConfigMap"}
    deployments = [document for document in documents if document["kind"] == "Deployment"]
    if not deployments:
        faults.append(f"{path.name}: no Deployment")
    for deployment in deployments:
        spec = deployment["spec"]
        pod = spec["template"]["spec"]
        if spec["selector"]["matchLabels"] != spec["template"]["metadata"]["labels"]:
            faults.append(f"{path.name}: the selector does not match the pod")
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for volume in volumes.values():
            if volume["configMap"]["name"] not in maps:
                faults.append(f"{path.name}: no ConfigMap {volume['configMap']['name']}")
        (proxy,) = [container for container in pod["initContainers"] if container["restartPolicy"] == "Always"]
        context = proxy["securityContext"]
        if not (context["runAsNonRoot"] and context["readOnlyRootFilesystem"]
                and context["allowPrivilegeEscalation"] is False and context["capabilities"]["drop"] == ["ALL"]):
            faults.append(f"{path.name}: the proxy has more rights than it needs")
        for mount in proxy["volumeMounts"]:
            if mount["name"] not in volumes:
                faults.append(f"{path.name}: no volume {mount['name']}")
        for container in pod["initContainers"] + pod["containers"]:
            if not re.search(r":[^/]+$", container["image"]) or container["image"].endswith(":latest"):
                faults.append(f"{path.name}: {container['image']} has no version")


def bill_of_materials():
    output = [subprocess.run([sys.executable, here / "sbom"], check=True, stdout=subprocess.PIPE).stdout for _ in "12"]
    bom = json.loads(output[0])
    references = {component["bom-ref"] for component in bom["components"]}
    references.add(bom["metadata"]["component"]["bom-ref"])
    if output[0] != output[1]:
        faults.append("sbom: differs each time")
    for component in bom["components"]:
        if not component.get("licenses") or not component.get("hashes"):
            faults.append(f"sbom: {component['purl']} has no licence or no hash")
    for dependency in bom["dependencies"]:
        if dependency["ref"] not in references or not references.issuperset(dependency["dependsOn"]):
            faults.append(f"sbom: {dependency['ref']} depends on what is not listed")
    names = {component["name"] for component in bom["components"]}
    if not {"rustls", "aws-lc-rs", "clap", "sev"} <= names or names & {"rcgen", "proptest", "tempfile"}:
        faults.append("sbom: expected what is compiled into the command, and nothing else")
    print(f"sbom: {len(references)} components")


for path in sorted(here.glob("Containerfile.*")):
    containerfile(path)
for argument in sys.argv[1:]:
    kubernetes(Path(argument))
bill_of_materials()
sys.exit("\n".join(faults) or 0)
