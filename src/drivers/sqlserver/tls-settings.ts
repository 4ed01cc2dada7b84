// As a whole: an older Node has no getCACertificates, and would refuse an import by that name.
import * as tls from 'node:tls'
import { CaFile } from '../../credentials/trust-files.ts'
import type { Emit } from '../../events.ts'
import type { SqlServerOptions } from './options.ts'

export interface TlsSetup {
  readonly secureContext: tls.SecureContext
  /** The same for tedious, which makes the context for TLS inside TDS itself. */
  readonly details: { readonly ca?: string | string[] }
}

/** The trusted authorities behind `ca_file`, read again when the file changes. */
export class TlsSettings {
  readonly #ca: CaFile | 'system' | undefined

  constructor(options: SqlServerOptions, emit: Emit) {
    const file = options.ca_file
    this.#ca =
      file === undefined || file === 'system'
        ? file
        : new CaFile(file, { onExpiring: (certificate) => emit('certificate:expiring', certificate) })
  }

  /** @throws PoolsmithError CA_FILE_MISSING, CA_FILE_UNREADABLE, CA_FILE_MALFORMED */
  async load(): Promise<TlsSetup> {
    const ca = this.#ca === undefined ? undefined : this.#ca === 'system' ? systemAuthorities() : await this.#ca.load()
    const details = ca === undefined ? {} : { ca }
    return { secureContext: tls.createSecureContext({ ...details, minVersion: 'TLSv1.2' }), details }
  }
}

function systemAuthorities(): string[] {
  // Before Node 22.15 there is no way to ask.
  if (typeof tls.getCACertificates !== 'function') return [...tls.rootCertificates]
  return tls.getCACertificates('system')
}
