/** The path of the program `blindbox-attest`, which has the emulator. */
export const program: string;

/**
 * An emulated BlindBox, MAA and, on request, AMD on loopback, with real signatures, on ports that the system chose: for tests of programs
 * that attest. Its evidence proves nothing: never use its roots outside of tests.
 */
export class Emulator {
  private constructor();
  /** Starts one. The arguments are those of `blindbox-attest emulate`. */
  static start(...options: string[]): Promise<Emulator>;
  /** Where the emulated BlindBox is. */
  readonly url: string;
  /** Its files: `policy.toml`, roots, the CCE policy, the key set. */
  readonly directory: string;
  /** What it printed when it was ready. */
  readonly about: Record<string, any>;
  /** The settings with which a client trusts it, by their names in the package @blindbox/attestation. */
  readonly settings: Record<string, string>;
  /** Returns the text of a policy that accepts the emulated guest. */
  policyText(): string;
  /** Sends a command, such as `knob debug`, `fail /attest/=hang`, `reset` or `traffic`, and returns its outcome. */
  command(text: string): Promise<Record<string, any>>;
  /** Ends it and removes its files. May be called again. */
  stop(): Promise<void>;
}
