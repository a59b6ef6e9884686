// Uses the types as a program would. It is compiled, and not run.
import { AttestationError, type Blindbox, type Check, type Code, type Documents, type Inspection, type Recorded, load } from '../blindbox.js';
import { AttestationError as SameError, type ConnectOptions, type Session, connect } from '../session.js';

export async function session(module: Uint8Array<ArrayBuffer>, policy: string, signal: AbortSignal): Promise<void> {
  const options: ConnectOptions = { module, keySet: async (url) => new URL(url), kds: (path) => (path === '' ? undefined : module), timeout: 1, clock: () => new Date() };
  const session: Session = await connect(new URL('https://a'), policy, options);
  const response: Response = await session.fetch('/generate', { method: 'POST', body: new Blob([]), signal, idempotent: true });
  const bytes: ReadableStream<Uint8Array> | null = response.body;
  console.log(bytes, session.url, session.appraisal.map(({ verdict }) => verdict), session.attestation['message_key']);
  await session.reattest();
  session.close();
  await connect('https://a', policy).catch((error: unknown) => error instanceof SameError && error.requestSent);
  // A function that takes `fetch` takes this one.
  const taken: typeof fetch = session.fetch;
  console.log(taken);
  await session.fetch('https://a', new Request('https://a'));
  // @ts-expect-error: no digest is compared
  await session.fetch('/', { integrity: 'sha256-' });
  // @ts-expect-error: a redirect is no error
  await session.fetch('/', { redirect: 'error' });
  // @ts-expect-error: checks are not changed
  session.appraisal.pop();
  // @ts-expect-error: the policy is not optional
  await connect('https://a');
  // @ts-expect-error: an unknown option
  await connect('https://a', policy, { keyset: module });
}

export async function main(module: Uint8Array<ArrayBuffer>, documents: Documents, policy: string): Promise<void> {
  const blindbox: Blindbox = await load(module);
  const codes: Code[] = blindbox.codes;
  console.log(blindbox.version, codes.length, blindbox.memoryBytes);
  try {
    const recorded: Recorded = blindbox.verifyRecorded(documents, policy, { at: new Date(), keySet: module });
    const checks: Check[] = recorded.appraisal;
    console.log(checks.filter(({ verdict }) => verdict === 'allowed').map(({ why }) => why));
    blindbox.verifyUnappraised(documents, { at: 1, maaIssuer: 'https://a', amdRoots: 'pem', akRoot: 'pem' });
  } catch (error) {
    if (!(error instanceof AttestationError)) throw error;
    const found: readonly Check[] | null = error.appraisal;
    console.log(error.code, error.number, error.category, error.retryable, found?.length);
  }
  const inspected: Inspection[] = blindbox.inspect(module);
  console.log(inspected.map(({ kind }) => kind), blindbox.policy(policy).lint, blindbox.hostData('ab').findings, blindbox.ccePolicy('').known_allow_all);
  await load(await WebAssembly.compile(module));
  await load(await fetch('blindbox.wasm'));
}

// What must not compile.
export async function wrong(blindbox: Blindbox): Promise<void> {
  // @ts-expect-error: the time is not optional
  blindbox.verifyRecorded({}, 'policy', {});
  // @ts-expect-error: an unknown option
  blindbox.verifyRecorded({}, 'policy', { at: 1, keyset: new Uint8Array() });
  // @ts-expect-error: a document is bytes
  blindbox.verifyRecorded({ 'token.jwt': 'text' }, 'policy', { at: 1 });
  // @ts-expect-error: there is no module of its own
  await load();
  // @ts-expect-error: it connects to nothing
  blindbox.verifyConnection;
}
