"""Connects to an attested BlindBox, posts a prompt to /generate, and prints the response, or why there is no connection.

    python generate.py URL POLICY [APPLICATION_ROOT COLLATERAL_ROOT]

The two files are the roots of `blindbox-attest emulate`; without them the platform's and the web's roots are used.
"""

import sys

import blindbox_attestation as blindbox


def main(url, policy, *roots):
    settings = dict(zip(("application_roots", "collateral_roots"), roots))
    try:
        with blindbox.verify_connection(url, blindbox.Policy.from_file(policy), **settings) as session:
            response = session.post("/generate", json={"prompt": "hi"})
            print("status", response.status)
            print(response.text)
    except blindbox.AttestationError as error:
        print(type(error).__name__)
        print(f"{error.code} ({error.number}): {error}", file=sys.stderr)
        for check in error.appraisal or []:
            if check.verdict == "failed":
                print(f"{check.name}: expected {check.expected}, found {check.actual}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    if len(sys.argv) not in (3, 5):
        sys.exit(f"usage: {sys.argv[0]} URL POLICY [APPLICATION_ROOT COLLATERAL_ROOT]")
    sys.exit(main(*sys.argv[1:]))
