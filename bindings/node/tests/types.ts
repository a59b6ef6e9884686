// Uses the types as a program would. It is compiled, and not run.
import OpenAI from 'openai';
import {
  type Attestation,
  AttestationError,
  type Check,
  type Code,
  DebugMode,
  HostData,
  Policy,
  Rejected,
  type Session,
  Unavailable,
  Verifier,
  codes,
  enableLogging,
  inspect,
  verifyConnection,
  verifyRecorded,
  verifyUnappraised,
} from '@blindbox/attestation';

const hostData: HostData = HostData.fromCcePolicyFile('cce-policy.base64');
const policy: Policy = Policy.confidentialContainer({ hostData, minimumSvn: 101, binding: 'own-key', maa: 'https://a' });

export async function main(signal: AbortSignal): Promise<void> {
  const session: Session = await verifyConnection(new URL('https://a'), policy, { deadline: 10_000, signal });
  const asFetch: typeof fetch = session.fetch;
  const response: Response = await session.fetch('/generate', { method: 'POST', body: 'x', signal, idempotent: true });
  await asFetch(new Request('https://a/'));
  async function* pieces(): AsyncGenerator<Uint8Array | string> {
    yield 'a';
  }
  await session.fetch('/echo', { method: 'POST', body: pieces() });
  console.log(response.status);
  const attestation: Attestation = await session.reattest({ signal });
  const checks: Check[] = attestation.appraisal;
  console.log(checks.map((check) => check.verdict));
  const all: Code[] = codes();
  console.log(all.filter((code) => code.retryable).map((code) => `${code.name} ${code.number}`));
  const client = new OpenAI({ baseURL: `${session.url}/v1`, apiKey: 'k', fetch: session.fetch });
  console.log(client.baseURL);
  const evidence = await new Verifier({ collateralRoots: 'roots.pem' }).collect('https://a', policy);
  verifyRecorded(evidence.documents, policy, { at: new Date(), amdRoots: 'roots.pem', akRoot: new Uint8Array() });
  verifyUnappraised(evidence.documents, { at: 1, maaIssuer: 'https://a' });
  inspect(new Uint8Array());
  enableLogging('info', (event) => console.log(event.level, event.fields));
  enableLogging('off');
  session.close();
  const disposable: Disposable & AsyncDisposable = session;
  disposable[Symbol.dispose]();
}

main(AbortSignal.timeout(1)).catch((error: unknown) => {
  if (error instanceof DebugMode || error instanceof Rejected || error instanceof Unavailable) {
    const found: readonly Check[] | null = error.appraisal;
    console.log(error.code, error.number, error.retryable, found?.length);
  } else if (error instanceof AttestationError) {
    console.log(error.category, error.requestSent);
  }
});

// What must not compile.
// @ts-expect-error: the assertion is not optional
Policy.confidentialContainer({ hostData, minimumSvn: 101 });
// @ts-expect-error: an unknown setting
new Verifier({ deadlin: 1 });
export function refused(session: Session): void {
  // @ts-expect-error: a check that is not made
  void session.fetch('/', { integrity: 'sha256-' });
  // @ts-expect-error: another way than the attested connection
  void session.fetch('/', { dispatcher: undefined });
}
// @ts-expect-error: no value is no root
new Verifier({ amdRoots: null });
// @ts-expect-error: a policy is not text
void verifyConnection('https://a', 'kind = 1');
