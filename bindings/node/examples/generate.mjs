// Connects to an attested BlindBox, posts a prompt to /generate, and prints the response, or why there is no connection.
//
//   node generate.mjs URL POLICY [APPLICATION_ROOT COLLATERAL_ROOT]
//
// The two files are the roots of `blindbox-attest emulate`; without them the platform's and the web's roots are used.
import { AttestationError, Policy, verifyConnection } from '@blindbox/attestation';

const [url, policy, applicationRoots, collateralRoots, ...rest] = process.argv.slice(2);
if (policy === undefined || (applicationRoots === undefined) !== (collateralRoots === undefined) || rest.length > 0) {
  console.error('usage: generate.mjs URL POLICY [APPLICATION_ROOT COLLATERAL_ROOT]');
  process.exit(2);
}
const settings = applicationRoots === undefined ? {} : { applicationRoots, collateralRoots };
try {
  const session = await verifyConnection(url, Policy.fromFile(policy), settings);
  const headers = { 'content-type': 'application/json' };
  const response = await session.fetch('/generate', { method: 'POST', headers, body: JSON.stringify({ prompt: 'hi' }) });
  console.log('status', response.status);
  console.log(await response.text());
  session.close();
} catch (error) {
  if (!(error instanceof AttestationError)) throw error;
  console.log(error.name);
  console.error(`${error.code} (${error.number}): ${error.message}`);
  for (const { name, verdict, expected, actual } of error.appraisal ?? []) {
    if (verdict === 'failed') console.error(`${name}: expected ${expected}, found ${actual}`);
  }
  process.exitCode = 1;
}
