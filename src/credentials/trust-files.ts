/** The files of trusted authorities and revoked certificates. Each is read again when it changes; a version that cannot be used is skipped. */

import { X509Certificate } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { createSecureContext } from 'node:tls'
import { PoolsmithError } from '../errors.ts'
import type { Emit } from '../events.ts'
import { PEM_LABELS, pemBlocks } from '../pem-blocks.ts'
import { type ExpiringCertificate, isExpiring, subjectOf } from './certificate-files.ts'
import { type FileKind, type FileSource, fileError, fileVersion, readFileState, sourceName } from './reread-file.ts'

export interface TrustFileOptions {
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly now?: () => number
  /**
   * Called once for each version of the file when the certificate in it that expires last expires soon: a bundle may
   * hold an old root beside its successor.
   */
  readonly onExpiring?: (certificate: ExpiringCertificate) => void
  /** Called once for each version of the file that cannot be used, while the version before it is used instead. */
  readonly onUnusable?: (error: PoolsmithError) => void
  /** The option that names the file, for hints. Default `sslrootcert`, `sslcrl` or `server_certificate`. */
  readonly option?: string
}

/** Options that raise both as events. */
export function trustEvents(emit: Emit): TrustFileOptions {
  return {
    onExpiring: (certificate) => emit('certificate:expiring', certificate),
    onUnusable: ({ code, message }) =>
      emit('security:warning', { code, message: `${message} The version that was read before it is used.` }),
  }
}

/**
 * A file that is read again when it has changed. While it is missing, empty or half written, as it may be for a moment
 * while it is replaced, the last usable version is used.
 */
class TrustFile<Content> {
  readonly #path: FileSource
  readonly #kind: FileKind
  readonly #parse: (bytes: Buffer, name: string) => Content
  readonly #onUnusable: TrustFileOptions['onUnusable']
  #loaded: { readonly version: string; readonly content: Content } | undefined
  #unusable: string | undefined

  constructor(
    path: FileSource,
    kind: FileKind,
    options: TrustFileOptions,
    parse: (bytes: Buffer, name: string) => Content,
  ) {
    this.#path = path
    this.#kind = kind
    this.#parse = parse
    this.#onUnusable = options.onUnusable
  }

  async load(): Promise<Content> {
    let version = 'missing'
    try {
      version = await fileVersion(this.#path, this.#kind)
      if (this.#loaded?.version !== version) {
        const state = await readFileState(this.#path, this.#kind)
        version = state.version
        this.#loaded = { version, content: this.#parse(state.content, state.path) }
      }
      this.#unusable = undefined
      return this.#loaded.content
    } catch (error) {
      if (!(error instanceof PoolsmithError) || this.#loaded === undefined) throw error
      if (this.#unusable !== version) {
        this.#unusable = version
        this.#onUnusable?.(error)
      }
      return this.#loaded.content
    }
  }
}

/** The certificates of the authorities that we trust (`sslrootcert`, `ca_file`), one or many in PEM form. */
export class CaFile {
  readonly #name: string
  readonly #options: TrustFileOptions
  readonly #file: TrustFile<{ readonly pem: string; readonly longest: X509Certificate }>
  #announced: string | undefined

  constructor(path: FileSource, options: TrustFileOptions = {}) {
    this.#options = options
    const { option = 'sslrootcert' } = options
    this.#name = sourceName(path)
    const kind: FileKind = {
      what: 'root certificate file',
      phase: 'tls',
      missing: 'CA_FILE_MISSING',
      unreadable: 'CA_FILE_UNREADABLE',
      hint: `Set ${option} to the PEM file of the authority that signed the server certificate, or to \`system\`.`,
      option,
    }
    this.#file = new TrustFile(path, kind, options, (bytes, name) => {
      const pem = bytes.toString('utf8')
      return { pem, longest: parseAuthorities(pem, name).reduce((a, b) => (b.validToDate > a.validToDate ? b : a)) }
    })
  }

  /** @throws PoolsmithError CA_FILE_MISSING, CA_FILE_UNREADABLE, CA_FILE_MALFORMED */
  async load(): Promise<string> {
    const { pem, longest } = await this.#file.load()
    const { now = Date.now, onExpiring } = this.#options
    const expiresAt = longest.validToDate.getTime()
    if (this.#announced !== pem && isExpiring(longest.validFromDate.getTime(), expiresAt, now())) {
      this.#announced = pem
      onExpiring?.({ file: this.#name, subject: subjectOf(longest), expiresAt })
    }
    return pem
  }
}

function parseAuthorities(pem: string, path: string): [X509Certificate, ...X509Certificate[]] {
  const { blocks, complete } = pemBlocks(pem, PEM_LABELS.certificates)
  try {
    const [first, ...rest] = blocks.map((block) => new X509Certificate(block))
    if (first !== undefined && complete) return [first, ...rest]
  } catch (cause) {
    throw malformedAuthorities(path, cause)
  }
  throw malformedAuthorities(path)
}

function malformedAuthorities(path: string, cause?: unknown): PoolsmithError {
  return new PoolsmithError(`${path} holds no certificate of an authority in PEM form, or one that is cut off.`, {
    code: 'CA_FILE_MALFORMED',
    phase: 'tls',
    hint: 'It must hold one or more blocks that begin with -----BEGIN CERTIFICATE-----.',
    details: { file: path },
    cause,
  })
}

/** The one certificate that a server must show (`server_certificate`), in PEM or DER form. */
export class ServerCertificateFile {
  readonly #file: TrustFile<X509Certificate>

  constructor(path: FileSource, options: TrustFileOptions = {}) {
    const hint = 'Set server_certificate to a file with the certificate of the server, or leave it out.'
    const kind: FileKind = {
      what: 'server certificate file',
      phase: 'tls',
      missing: 'CA_FILE_MISSING',
      unreadable: 'CA_FILE_UNREADABLE',
      hint,
      option: 'server_certificate',
    }
    this.#file = new TrustFile(path, kind, options, (bytes, name) => {
      try {
        return new X509Certificate(bytes)
      } catch (cause) {
        const details = { file: name }
        throw new PoolsmithError(`${name} holds no certificate.`, {
          code: 'CA_FILE_MALFORMED',
          phase: 'tls',
          hint,
          details,
          cause,
        })
      }
    })
  }

  /** @throws PoolsmithError CA_FILE_MISSING, CA_FILE_UNREADABLE, CA_FILE_MALFORMED */
  load(): Promise<X509Certificate> {
    return this.#file.load()
  }
}

/** The lists of revoked certificates in one file (`sslcrl`), in PEM form. */
export class CrlFile {
  readonly #file: TrustFile<readonly string[]>

  constructor(path: FileSource, options: TrustFileOptions = {}) {
    const kind: FileKind = {
      what: 'revocation list',
      phase: 'tls',
      missing: 'CRL_FILE_MISSING',
      unreadable: 'CRL_FILE_UNREADABLE',
      hint: 'Set sslcrl to a PEM file, or leave it out.',
      option: 'sslcrl',
    }
    this.#file = new TrustFile(path, kind, options, (bytes, name) => parseLists(bytes.toString('utf8'), name))
  }

  /** @throws PoolsmithError CRL_FILE_MISSING, CRL_FILE_UNREADABLE, CRL_FILE_MALFORMED */
  load(): Promise<readonly string[]> {
    return this.#file.load()
  }
}

function parseLists(pem: string, path: string): readonly string[] {
  // One by one: Node takes the first list of a text and passes over the others.
  const { blocks, complete } = pemBlocks(pem, PEM_LABELS.lists)
  let cause: unknown
  try {
    createSecureContext({ crl: [...blocks] })
    if (blocks.length > 0 && complete) return blocks
  } catch (error) {
    cause = error
  }
  throw new PoolsmithError(`${path} holds no certificate revocation list in PEM form, or one that is cut off.`, {
    code: 'CRL_FILE_MALFORMED',
    phase: 'tls',
    hint: 'It must hold one or more blocks that begin with -----BEGIN X509 CRL-----.',
    details: { file: path },
    cause,
  })
}

/** The names by which OpenSSL looks for a list in a folder: a hash of the issuer's name, and a number. */
const HASHED_NAME = /^[0-9a-f]{8}\.r\d+$/

/**
 * A folder of revocation lists (`sslcrldir`), each file named as `openssl rehash` does. While the folder is missing or
 * empty, as it may be for a moment while it is replaced, the lists that were read before are used.
 */
export class CrlFolder {
  readonly #path: string
  readonly #options: TrustFileOptions
  #files: ReadonlyMap<string, CrlFile> = new Map()
  #isUnusable = false

  constructor(path: string, options: TrustFileOptions = {}) {
    this.#path = path
    this.#options = options
  }

  /** @throws PoolsmithError CRL_FILE_MISSING, CRL_FILE_UNREADABLE, CRL_FILE_MALFORMED */
  async load(): Promise<readonly string[]> {
    const names = await this.#names()
    const files = new Map(
      names.map((name) => [name, this.#files.get(name) ?? new CrlFile(join(this.#path, name), this.#options)]),
    )
    const lists = await Promise.allSettled([...files.values()].map((file) => file.load()))
    const usable = lists.flatMap((list) => (list.status === 'fulfilled' ? list.value : []))
    const [failed] = lists.filter((list) => list.status === 'rejected')
    // As for OpenSSL, a damaged list counts as missing: a certificate that needs it is refused in the handshake.
    if (usable.length === 0 && failed !== undefined) throw failed.reason
    this.#files = files
    return usable
  }

  async #names(): Promise<readonly string[]> {
    try {
      const names = (await readdir(this.#path)).filter((name) => HASHED_NAME.test(name)).sort()
      // Without a list nothing would be checked.
      if (names.length === 0) throw emptyFolder(this.#path)
      this.#isUnusable = false
      return names
    } catch (cause) {
      const error = cause instanceof PoolsmithError ? cause : fileError(this.#path, CRL_FOLDER, cause)
      if (this.#files.size === 0) throw error
      if (!this.#isUnusable) this.#options.onUnusable?.(error)
      this.#isUnusable = true
      return [...this.#files.keys()]
    }
  }
}

function emptyFolder(path: string): PoolsmithError {
  return new PoolsmithError(`The folder ${path} holds no revocation list under a name such as 1a2b3c4d.r0.`, {
    code: 'CRL_FILE_MISSING',
    phase: 'tls',
    hint: 'Put the lists of all authorities in the chain there, and run `openssl rehash` on the folder.',
    details: { file: path },
  })
}

const CRL_FOLDER: FileKind = {
  what: 'folder of revocation lists',
  phase: 'tls',
  missing: 'CRL_FILE_MISSING',
  unreadable: 'CRL_FILE_UNREADABLE',
  hint: 'Set sslcrldir to a folder, or leave it out.',
  option: 'sslcrldir',
}
