import { X509Certificate } from 'node:crypto'
import { PoolsmithError } from '../errors.ts'
import { type ExpiringCertificate, isExpiring, subjectOf } from './certificate-files.ts'
import { type FileKind, fileVersion, readFileState } from './reread-file.ts'

/** A PEM file that is read again when it has changed. */
class PemFile<Content> {
  readonly #path: string
  readonly #kind: FileKind
  readonly #parse: (pem: string) => Content
  #loaded: { readonly version: string; readonly content: Content } | undefined

  constructor(path: string, kind: FileKind, parse: (pem: string) => Content) {
    this.#path = path
    this.#kind = kind
    this.#parse = parse
  }

  async load(): Promise<Content> {
    const version = await fileVersion(this.#path, this.#kind)
    if (this.#loaded?.version !== version) {
      const state = await readFileState(this.#path, this.#kind)
      this.#loaded = { version: state.version, content: this.#parse(state.content.toString('utf8')) }
    }
    return this.#loaded.content
  }
}

export interface CaFileOptions {
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly now?: () => number
  /**
   * Called once for each version of the file when the certificate in it that lives longest nears its end:
   * a bundle may hold an old root beside its successor.
   */
  readonly onExpiring?: (certificate: ExpiringCertificate) => void
}

/** The certificates of the authorities that we trust (`sslrootcert`), one or many in PEM form. */
export class CaFile {
  readonly #path: string
  readonly #options: CaFileOptions
  readonly #file: PemFile<{ readonly pem: string; readonly longest: X509Certificate }>
  #announced: string | undefined

  constructor(path: string, options: CaFileOptions = {}) {
    this.#path = path
    this.#options = options
    const kind: FileKind = {
      what: 'root certificate file',
      phase: 'tls',
      missing: 'CA_FILE_MISSING',
      unreadable: 'CA_FILE_UNREADABLE',
      hint: 'Set sslrootcert to the PEM file of the authority that signed the server certificate, or to `system`.',
    }
    this.#file = new PemFile(path, kind, (pem) => ({
      pem,
      longest: parseAuthorities(pem, path).reduce((a, b) => (b.validToDate > a.validToDate ? b : a)),
    }))
  }

  /** @throws PoolsmithError CA_FILE_MISSING, CA_FILE_UNREADABLE, CA_FILE_MALFORMED */
  async load(): Promise<string> {
    const { pem, longest } = await this.#file.load()
    const { now = Date.now, onExpiring } = this.#options
    const expiresAt = longest.validToDate.getTime()
    if (this.#announced !== pem && isExpiring(longest.validFromDate.getTime(), expiresAt, now())) {
      this.#announced = pem
      onExpiring?.({ file: this.#path, subject: subjectOf(longest), expiresAt })
    }
    return pem
  }
}

/** A list of revoked certificates (`sslcrl`) in PEM form. */
export class CrlFile {
  readonly #file: PemFile<string>

  constructor(path: string) {
    const kind: FileKind = {
      what: 'revocation list',
      phase: 'tls',
      missing: 'CRL_FILE_MISSING',
      unreadable: 'CRL_FILE_UNREADABLE',
      hint: 'Set sslcrl to a PEM file, or leave it out.',
    }
    this.#file = new PemFile(path, kind, (pem) => {
      if (pem.includes('-----BEGIN X509 CRL-----')) return pem
      throw new PoolsmithError(`${path} holds no certificate revocation list in PEM form.`, {
        code: 'CRL_FILE_MALFORMED',
        phase: 'tls',
        hint: 'The file must hold a block that begins with -----BEGIN X509 CRL-----.',
        details: { file: path },
      })
    })
  }

  /** @throws PoolsmithError CRL_FILE_MISSING, CRL_FILE_UNREADABLE, CRL_FILE_MALFORMED */
  load(): Promise<string> {
    return this.#file.load()
  }
}

function parseAuthorities(pem: string, path: string): [X509Certificate, ...X509Certificate[]] {
  const blocks =
    pem.match(/-----BEGIN (?:TRUSTED )?CERTIFICATE-----[\s\S]*?-----END (?:TRUSTED )?CERTIFICATE-----/g) ?? []
  try {
    const [first, ...rest] = blocks.map((block) => new X509Certificate(block))
    if (first !== undefined) return [first, ...rest]
  } catch (cause) {
    throw malformed(path, cause)
  }
  throw malformed(path)
}

function malformed(path: string, cause?: unknown): PoolsmithError {
  return new PoolsmithError(`${path} holds no certificate of an authority in PEM form.`, {
    code: 'CA_FILE_MALFORMED',
    phase: 'tls',
    hint: 'The file must hold one or more blocks that begin with -----BEGIN CERTIFICATE-----.',
    details: { file: path },
    cause,
  })
}
