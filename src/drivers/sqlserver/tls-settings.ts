import type { X509Certificate } from 'node:crypto'
// As a whole: an older Node has no getCACertificates, and would refuse an import by that name.
import * as tls from 'node:tls'
import { fileSource } from '../../credentials/reread-file.ts'
import { CaFile, ServerCertificateFile, trustEvents } from '../../credentials/trust-files.ts'
import { PoolsmithError } from '../../errors.ts'
import type { Emit } from '../../events.ts'
import { peerCertificate } from '../network/tls.ts'
import type { SqlServerOptions } from './options.ts'

export interface TlsSetup {
  /** Made when it is asked for: the authorities take some time to read, and not every session has TLS. */
  readonly secureContext: () => tls.SecureContext
  /** The only certificate that is accepted; undefined: any by a trusted authority with the host's name. */
  readonly only: X509Certificate | undefined
}

/** The trusted authorities behind `ca_file`, or the certificate in `server_certificate`; a file that changes is read again. */
export class TlsSettings {
  readonly #ca: CaFile | 'system' | undefined
  readonly #only: ServerCertificateFile | undefined
  readonly #versions: Pick<tls.SecureContextOptions, 'minVersion' | 'maxVersion'>

  constructor(options: SqlServerOptions, emit: Emit) {
    const { ca_file: file, server_certificate: only } = options
    const events = trustEvents(emit)
    this.#only =
      only === undefined ? undefined : new ServerCertificateFile(fileSource('server_certificate', only), events)
    this.#ca =
      file === undefined || file === 'system'
        ? file
        : new CaFile(fileSource('ca_file', file), { ...events, option: 'ca_file' })
    // TLS 1.3 has messages behind its handshake, which have no place in the packets of TDS before 8.0.
    this.#versions = options.encrypt === 'strict' ? { minVersion: 'TLSv1.2' } : { maxVersion: 'TLSv1.2' }
  }

  /** @throws PoolsmithError CA_FILE_MISSING, CA_FILE_UNREADABLE, CA_FILE_MALFORMED */
  async load(): Promise<TlsSetup> {
    const ca = this.#ca === undefined ? undefined : this.#ca === 'system' ? systemAuthorities() : await this.#ca.load()
    const only = await this.#only?.load()
    return { secureContext: () => tls.createSecureContext({ ca, ...this.#versions }), only }
  }
}

/**
 * Looks whether a server shows the one certificate that is taken from it; ends the connection when it does not.
 *
 * @throws PoolsmithError TLS_CERTIFICATE_OTHER
 */
export function assertOnly(socket: tls.TLSSocket, only: X509Certificate, host: string): void {
  const shown = peerCertificate(socket)
  if (shown?.raw.equals(only.raw) === true) return
  socket.destroy()
  throw new PoolsmithError(`The certificate of ${host} is not the one in server_certificate.`, {
    code: 'TLS_CERTIFICATE_OTHER',
    phase: 'tls',
    hint: 'Ask the administrator whether the server has a new certificate; if so, replace the file. Do not connect before.',
    details: { host, expected: only.fingerprint256, shown: shown?.fingerprint256 },
  })
}

function systemAuthorities(): string[] {
  // Before Node 22.15 there is no way to ask.
  if (typeof tls.getCACertificates !== 'function') return [...tls.rootCertificates]
  return tls.getCACertificates('system')
}
