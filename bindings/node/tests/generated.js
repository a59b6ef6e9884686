'use strict';

// Writes the files that are generated from the core's list of codes: `node tests/generated.js DIRECTORY` for the package in it.

const fs = require('node:fs');
const path = require('node:path');

const HEAD = `// Written by tests/generated.js from the core's list of codes.

/** The frozen facts about one kind of error. */
export interface Code {
  readonly code: string;
  readonly number: number;
  readonly category: 'rejected' | 'untrusted' | 'unavailable' | 'misconfigured' | 'internal';
  /** Whether the same call may succeed later without any change of settings or deployment. */
  readonly retryable: boolean;
  /** The name of the class, such as \`DebugMode\`. */
  readonly name: string;
}

/** One check of an appraisal. */
export interface Check {
  readonly name: string;
  readonly verdict: 'passed' | 'allowed' | 'failed' | 'not-evaluated';
  readonly expected: string;
  readonly actual: string;
  readonly why?: string;
}

/** The reason why there is no attested connection, or why a request failed. */
export class AttestationError extends Error {
  /** The code, such as \`debug-mode\`, which never changes between releases; so is the number. */
  readonly code: string;
  readonly number: number;
  readonly category: 'rejected' | 'untrusted' | 'unavailable' | 'misconfigured' | 'internal';
  /**
   * Whether the same call may succeed later without any change of settings or deployment. It does not say that a request may be
   * repeated: that depends on \`requestSent\`.
   */
  readonly retryable: boolean;
  /** Whether the peer may have received the request that failed. If so, repeat it only if processing it twice does no harm. */
  readonly requestSent: boolean;
  /**
   * Every check of genuine evidence that was rejected, else null. It holds values that identify a machine, and is not part of the
   * message.
   */
  readonly appraisal: Check[] | null;
}

/** The evidence is genuine, but the policy does not accept it. */
export class Rejected extends AttestationError {}
/** The evidence is not genuine or not about this peer. Assume an attack. */
export class Untrusted extends AttestationError {}
/** Attestation or a request could not be completed; nothing is known about the peer. */
export class Unavailable extends AttestationError {}
/** Settings or arguments of the caller are wrong. */
export class Misconfigured extends AttestationError {}
/** A fault of this library: nothing was verified. */
export class Internal extends AttestationError {}

`;

const BASES = {
  rejected: 'Rejected',
  untrusted: 'Untrusted',
  unavailable: 'Unavailable',
  misconfigured: 'Misconfigured',
  internal: 'Internal',
};

/** The content of each file, by its name. */
function generated(root) {
  const { native } = require(path.join(root, 'lib/native.js'));
  let types = HEAD;
  for (const { code, number, category, name } of native.codes()) {
    if (name !== BASES[category]) {
      types += `/** \`${code}\` (${number}) */\nexport class ${name} extends ${BASES[category]} {}\n`;
    }
  }
  const names = Object.keys(require(root)).sort();
  let module = "// Written by tests/generated.js: the names of the package for `import`.\n\nimport all from './index.js';\n\n";
  module += names.map((name) => `export const ${name} = all.${name};\n`).join('');
  return { 'errors.d.ts': types, 'index.mjs': module };
}

module.exports = { generated };

if (require.main === module) {
  const root = path.resolve(process.argv[2]);
  for (const [name, content] of Object.entries(generated(root))) {
    fs.writeFileSync(path.join(root, name), content);
  }
}
