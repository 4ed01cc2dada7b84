import type { GssCredential } from '../../credentials/credential.ts'
import type { KerberosInfo } from '../driver.ts'

/** One GSS context towards one server (RFC 2743): token by token until it stands. */
export interface SspiProvider {
  /**
   * The next token for the server. The first call has no input; each further one has the server's token.
   * `complete` means that our side is satisfied: with mutual authentication, that the server has proved itself.
   */
  step(input?: Buffer): Promise<{ readonly output?: Buffer | undefined; readonly complete: boolean }>
  /** Both ends, once the context stands. */
  peers?(): KerberosInfo | undefined
  /** Frees what it holds; called once, also after a failure. */
  close?(): void
}

/** The server that a ticket is for. */
export interface SspiTarget {
  /** As the user typed it, or as the server that sent us on named it. */
  readonly host: string
  readonly port: number
  /** A named instance whose port was looked up: its SPN has the name in place of the port. */
  readonly instance?: string
  /** `mssql_spn`: takes the place of everything above. */
  readonly spn?: string
  /** The application data of the channel bindings to the session's TLS (RFC 5929). */
  readonly channelBindings?: Buffer | undefined
}

export type SspiFactory = (target: SspiTarget, credential: GssCredential, signal: AbortSignal) => Promise<SspiProvider>
