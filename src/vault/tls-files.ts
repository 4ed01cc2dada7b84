/** The files by which a store of secrets is reached over TLS. */

import type { SecureContextOptions } from 'node:tls'
import { CertificateFiles } from '../credentials/certificate-files.ts'
import type { FileSource } from '../credentials/reread-file.ts'
import { CaFile, trustEvents } from '../credentials/trust-files.ts'
import { PoolsmithError } from '../errors.ts'
import type { Emit } from '../events.ts'
import { shownPath } from '../plausible-path.ts'
import { type FileUse, readSecretFile } from './credential-file.ts'

interface TlsFile extends Pick<FileUse, 'option'> {
  readonly path: string
  /** How errors name it. Default `file`. */
  readonly what?: string
}

export interface TlsFilePlaces {
  readonly ca?: TlsFile | undefined
  readonly certificate?: TlsFile | undefined
  /** Needed with a certificate; unencrypted. */
  readonly key?: TlsFile | undefined
}

/**
 * The authorities of a store and the client's certificate for it. A file is looked at for each request. While it is
 * missing, empty or half written, as it may be for a moment while it is replaced, the last usable version is used, and
 * `security:warning` tells of it.
 */
export class TlsFiles {
  readonly #ca: CaFile | undefined
  readonly #pair: CertificateFiles | undefined

  constructor({ ca, certificate, key }: TlsFilePlaces, emit: Emit) {
    const events = trustEvents(emit)
    this.#ca = ca && new CaFile(sourceOf(ca), { ...events, option: ca.option })
    this.#pair =
      certificate &&
      key &&
      new CertificateFiles({ ...events, certificateFile: sourceOf(certificate), keyFile: sourceOf(key) })
  }

  /** @throws PoolsmithError CREDENTIAL_MISSING, SECRET_FILE_REFUSED, CA_FILE_MALFORMED, and those of CertificateFiles */
  async load(): Promise<SecureContextOptions> {
    try {
      const ca = await this.#ca?.load()
      const pair = await this.#pair?.load()
      return { ca, cert: pair?.certificate, key: pair?.privateKey.reveal() }
    } catch (error) {
      if (!(error instanceof PoolsmithError)) throw error
      const hint = error.code === 'KEY_PASSPHRASE_MISSING' ? 'Give the key without a passphrase.' : error.hint
      // Of the login to the store, and not of the database's TLS.
      throw error.with({ phase: 'credential', hint })
    }
  }
}

function sourceOf({ path, option, what = 'file' }: TlsFile): FileSource {
  return { name: shownPath(path), read: () => readSecretFile(path, { what, option, missing: 'CREDENTIAL_MISSING' }) }
}
