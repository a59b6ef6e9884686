import { AttestationError, Policy, verifyConnection } from '@blindbox/attestation';

const [url, policy, applicationRoots, collateralRoots] = process.argv.slice(2);
try {
  const session = await verifyConnection(url, Policy.fromFile(policy), { applicationRoots, collateralRoots });
  const response = await session.fetch('/generate', { method: 'POST', body: JSON.stringify({ prompt: 'hi' }) });
  console.log(await response.text());
} catch (error) {
  if (!(error instanceof AttestationError)) throw error;
  console.log(error.name);
}
