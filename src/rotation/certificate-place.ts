import type { X509Certificate } from 'node:crypto'
import type { IssuedPair } from './site-command.ts'

/**
 * `read`: the place is read. `issue`: the new one is made. `check`: key, chain and subject. `login`: with the new one.
 * `write`: it is written, in files beside the old one. In files then `key`: the new key takes the place of the old one, and
 * `certificate`: so does the certificate.
 */
export type CertificateStep = 'read' | 'issue' | 'check' | 'login' | 'write' | 'key' | 'certificate'

/** Where the certificate and the key of a record are kept. */
export interface CertificatePlace extends AsyncDisposable {
  /** As errors and results name it. */
  readonly name: string
  /** The present certificate. @throws PoolsmithError */
  read(signal: AbortSignal): Promise<X509Certificate>
  /** The pair that an earlier rotation has left unfinished. */
  left(): Promise<IssuedPair | undefined>
  /** Replaces the pair that was read. @throws PoolsmithError */
  write(pair: IssuedPair, begin: (step: CertificateStep) => Promise<void>, signal: AbortSignal): Promise<void>
}
