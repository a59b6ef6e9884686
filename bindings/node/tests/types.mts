// As types.ts, for a program that is a module.
import { DebugMode, Policy, verifyConnection } from '@blindbox/attestation';

try {
  const session = await verifyConnection('https://a', Policy.fromFile('policy.toml'));
  console.log((await session.fetch('/')).status);
} catch (error) {
  if (error instanceof DebugMode) console.log(error.appraisal?.[0]?.name);
}
