import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { PoolsmithError } from '../errors.ts'
import { pemBlocks } from '../pem-blocks.ts'
import { Secret } from '../secret.ts'
import {
  type FileKind,
  type FileSource,
  type FileState,
  fileSource,
  fileVersion,
  readFileState,
  sourceName,
} from './reread-file.ts'

/** A client certificate and the private key that belongs to it. Times in milliseconds since the epoch. */
export interface LoadedCertificate {
  /** PEM, with whatever chain the file holds. */
  readonly certificate: string
  /** PEM; encrypted when `passphrase` is set. */
  readonly privateKey: Secret
  readonly passphrase?: Secret
  /** `CN=alice, O=Example` */
  readonly subject: string
  readonly notBefore: number
  readonly notAfter: number
}

/** A certificate that expires soon, as in the event `certificate:expiring`. */
export interface ExpiringCertificate {
  readonly file: string
  readonly subject: string
  readonly expiresAt: number
}

export interface CertificateFilesOptions {
  readonly certificateFile: FileSource
  readonly keyFile: FileSource
  readonly passphrase?: Secret
  /**
   * Whether a certificate outside its time is given too. The server then refuses it, if it asks for one. Default false.
   */
  readonly evenExpired?: boolean
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly now?: () => number
  /** Called once for each version of the files when the certificate is {@link isExpiring}. */
  readonly onExpiring?: (certificate: ExpiringCertificate) => void
  /**
   * Called once for each version of the files that cannot be used while the pair read before still can:
   * a rotation writes two files, and a connection may be opened between the two.
   */
  readonly onUnusable?: (error: PoolsmithError) => void
}

interface CertificateOptions {
  readonly sslcert?: string | Secret | undefined
  readonly sslkey?: string | Secret | undefined
  readonly sslcert_from?: Secret | undefined
  readonly sslkey_from?: Secret | undefined
}

/**
 * Where certificate and key are by the options.
 *
 * @param place gives the path of a default file
 */
export function certificatePlaces(
  { sslcert, sslkey, sslcert_from, sslkey_from }: CertificateOptions,
  place: (name: string) => string,
): Pick<CertificateFilesOptions, 'certificateFile' | 'keyFile'> {
  return {
    certificateFile:
      sslcert_from === undefined
        ? fileSource('sslcert', sslcert ?? place('postgresql.crt'))
        : { name: 'sslcert_from', text: sslcert_from },
    keyFile:
      sslkey_from === undefined
        ? fileSource('sslkey', sslkey ?? place('postgresql.key'))
        : { name: 'sslkey_from', text: sslkey_from },
  }
}

const CERTIFICATE_FILE: FileKind = {
  what: 'client certificate file',
  phase: 'credential',
  missing: 'CERTIFICATE_FILE_MISSING',
  unreadable: 'CERTIFICATE_FILE_UNREADABLE',
  hint: 'Set sslcert to the PEM file of the client certificate, or put it in its place.',
  option: 'sslcert',
}
const KEY_FILE: FileKind = {
  what: 'private key file',
  phase: 'credential',
  missing: 'KEY_FILE_MISSING',
  unreadable: 'KEY_FILE_UNREADABLE',
  hint: 'Set sslkey to the PEM file of the private key that belongs to sslcert.',
  option: 'sslkey',
}

const DAY_MILLIS = 24 * 60 * 60 * 1000
const EXPIRING_MILLIS = 30 * DAY_MILLIS

/** Whether a certificate is in its last 30 days, or in the last tenth of its life when that is shorter. */
export function isExpiring(notBefore: number, notAfter: number, now: number): boolean {
  return notAfter - now <= Math.min(EXPIRING_MILLIS, (notAfter - notBefore) / 10)
}

/**
 * A client certificate and its private key on disk. Every {@link load} looks whether the files have changed, so
 * that a rotated certificate is used by the next connection without a restart.
 */
export class CertificateFiles {
  readonly #options: CertificateFilesOptions
  readonly #now: () => number
  #loaded: { readonly version: string; readonly pair: LoadedCertificate } | undefined
  #unusable: string | undefined
  #announced: string | undefined

  constructor(options: CertificateFilesOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
  }

  /**
   * The pair as it is now on disk. While a changed pair cannot be used, the one read before is given as long as
   * it is valid.
   *
   * @throws PoolsmithError CERTIFICATE_FILE_MISSING, CERTIFICATE_FILE_UNREADABLE, CERTIFICATE_MALFORMED,
   *   CERTIFICATE_EXPIRED, CERTIFICATE_NOT_YET_VALID, KEY_FILE_MISSING, KEY_FILE_UNREADABLE, KEY_PERMISSIONS,
   *   KEY_MALFORMED, KEY_PASSPHRASE_MISSING, KEY_PASSPHRASE_WRONG, KEY_MISMATCH
   */
  async load(): Promise<LoadedCertificate> {
    const { certificateFile, keyFile } = this.#options
    let version = 'missing'
    try {
      // In this order, so that the certificate is reported as missing where neither file exists.
      const certificateVersion = await fileVersion(certificateFile, CERTIFICATE_FILE)
      version = `${certificateVersion}|${await fileVersion(keyFile, KEY_FILE)}`
      if (this.#loaded?.version !== version) this.#loaded = await this.#read()
      this.#unusable = undefined
    } catch (error) {
      const earlier = this.#loaded?.pair
      if (!(error instanceof PoolsmithError) || earlier === undefined || earlier.notAfter <= this.#now()) throw error
      if (this.#unusable !== version) {
        this.#unusable = version
        this.#options.onUnusable?.(error)
      }
      return earlier
    }
    const { pair } = this.#loaded
    this.#assertInTime(pair)
    if (this.#announced !== version && isExpiring(pair.notBefore, pair.notAfter, this.#now())) {
      this.#announced = version
      this.#options.onExpiring?.({ file: sourceName(certificateFile), subject: pair.subject, expiresAt: pair.notAfter })
    }
    return pair
  }

  #assertInTime(pair: LoadedCertificate): void {
    const { evenExpired = false, certificateFile } = this.#options
    if (!evenExpired) assertInTime(pair, sourceName(certificateFile), this.#now())
  }

  async #read(): Promise<{ version: string; pair: LoadedCertificate }> {
    const { certificateFile, keyFile, passphrase } = this.#options
    const certificateState = await readFileState(certificateFile, CERTIFICATE_FILE)
    const keyState = await readFileState(keyFile, KEY_FILE)
    const present = parseCertificate(certificateState)
    assertKeyIsPrivate(keyState)
    const key = parseKey(keyState, passphrase)
    const found = present.x509.checkPrivateKey(key) ? present : await certificateBeside(certificateFile, key)
    if (found === undefined) {
      throw new PoolsmithError(
        `The private key ${keyState.path} does not belong to the certificate ${certificateState.path}.`,
        {
          code: 'KEY_MISMATCH',
          phase: 'credential',
          hint: 'Give the key that the certificate was issued for; after a rotation, check that both files are new.',
          details: { file: keyState.path, certificate: certificateState.path },
        },
      )
    }
    const { blocks, x509 } = found
    const pair: LoadedCertificate = {
      // The certificates alone: the text may hold the key too.
      certificate: blocks.map((block) => `${block}\n`).join(''),
      ...privateKeyOf(keyState, key, passphrase),
      subject: subjectOf(x509),
      notBefore: x509.validFromDate.getTime(),
      notAfter: x509.validToDate.getTime(),
    }
    this.#assertInTime(pair)
    return { version: `${certificateState.version}|${keyState.version}`, pair }
  }
}

/** Node takes keys in PEM only. */
function privateKeyOf(
  { content }: FileState,
  key: KeyObject,
  passphrase: Secret | undefined,
): Pick<LoadedCertificate, 'privateKey' | 'passphrase'> {
  if (isPem(content)) return { privateKey: new Secret(content.toString('utf8')), passphrase }
  return { privateKey: new Secret(key.export({ type: 'pkcs8', format: 'pem' }).toString()) }
}

/** A certificate's subject on one line: `CN=alice, O=Example`. */
export function subjectOf(certificate: X509Certificate): string {
  return (certificate.subject ?? '').split('\n').join(', ')
}

/** The file beside a certificate or a key that a rotation is about to put into its place. */
export function nextCertificate(path: string): string {
  return `${path}.new`
}

/** The certificate of a key that a rotation has put into its place already, the certificate not yet. */
async function certificateBeside(file: FileSource, key: KeyObject): Promise<ParsedCertificate | undefined> {
  if (typeof file !== 'string') return undefined
  try {
    const found = parseCertificate(await readFileState(nextCertificate(file), CERTIFICATE_FILE))
    return found.x509.checkPrivateKey(key) ? found : undefined
  } catch (error) {
    // The error is that key and certificate do not belong together.
    if (error instanceof PoolsmithError) return undefined
    throw error
  }
}

interface ParsedCertificate {
  readonly blocks: readonly string[]
  readonly x509: X509Certificate
}

function parseCertificate({ content, path }: FileState): ParsedCertificate {
  try {
    const { blocks, complete } = pemBlocks(content.toString('utf8'), 'CERTIFICATE')
    const [x509] = blocks.map((block) => new X509Certificate(block))
    if (x509 !== undefined && complete) return { blocks, x509 }
  } catch (cause) {
    throw malformed(path, cause)
  }
  throw malformed(path)
}

function malformed(file: string, cause?: unknown): PoolsmithError {
  return new PoolsmithError(`${file} holds no certificate in PEM form, or one that is cut off.`, {
    code: 'CERTIFICATE_MALFORMED',
    phase: 'credential',
    hint: 'It must hold a block that begins with -----BEGIN CERTIFICATE-----; the client certificate comes first.',
    details: { file },
    cause,
  })
}

function assertInTime(pair: LoadedCertificate, file: string, now: number): void {
  if (now >= pair.notAfter) {
    throw new PoolsmithError(
      `The client certificate ${file} (${pair.subject}) expired on ${new Date(pair.notAfter).toISOString()}.`,
      {
        code: 'CERTIFICATE_EXPIRED',
        phase: 'credential',
        hint: 'Replace the certificate file; the next connection reads it, no restart is needed.',
        details: { file, subject: pair.subject, expiresAt: pair.notAfter },
      },
    )
  }
  if (now < pair.notBefore) {
    throw new PoolsmithError(
      `The client certificate ${file} (${pair.subject}) is valid only from ${new Date(pair.notBefore).toISOString()}.`,
      {
        code: 'CERTIFICATE_NOT_YET_VALID',
        phase: 'credential',
        hint: 'Check the clock of this machine, or use the certificate that is valid now.',
        details: { file, subject: pair.subject, validFrom: pair.notBefore },
      },
    )
  }
}

/**
 * libpq's rule: a key that belongs to root may be read by its group (a system-wide key), any other key by its
 * owner alone. PostgreSQL documentation, "SSL Support", client certificates.
 */
function assertKeyIsPrivate(key: FileState): void {
  if (process.platform === 'win32') return
  const forbidden = key.uid === 0 ? 0o037 : 0o077
  if ((key.mode & forbidden) === 0) return
  const mode = (key.mode & 0o777).toString(8).padStart(4, '0')
  throw new PoolsmithError(`The private key ${key.path} is open to others (mode ${mode}).`, {
    code: 'KEY_PERMISSIONS',
    phase: 'credential',
    hint: `chmod 0600 ${key.path} (0640 is accepted when root owns it)`,
    details: { file: key.path, mode },
  })
}

function parseKey(state: FileState, passphrase: Secret | undefined): KeyObject {
  const details = { file: state.path }
  try {
    if (!isPem(state.content)) return parseDerKey(state.content)
    return createPrivateKey({ key: state.content, format: 'pem', passphrase: passphrase?.reveal() })
  } catch (cause) {
    const pem = state.content.toString('latin1')
    if (/ENCRYPTED/.test(pem)) {
      const missing = passphrase === undefined
      throw new PoolsmithError(
        missing
          ? `The private key ${state.path} is encrypted, and no passphrase is given.`
          : `The passphrase does not open the private key ${state.path}.`,
        {
          code: missing ? 'KEY_PASSPHRASE_MISSING' : 'KEY_PASSPHRASE_WRONG',
          phase: 'credential',
          hint: missing ? 'Set sslpassword.' : 'Check sslpassword.',
          details,
          cause,
        },
      )
    }
    throw new PoolsmithError(`${state.path} holds no private key in PEM or DER form.`, {
      code: 'KEY_MALFORMED',
      phase: 'credential',
      hint: 'The file must hold a block that begins with -----BEGIN PRIVATE KEY----- (or RSA, EC, ENCRYPTED), or an unencrypted key in DER.',
      details,
      cause,
    })
  }
}

function isPem(content: Buffer): boolean {
  return content.includes('-----BEGIN ')
}

/** As libpq does: in any of the forms of a key that OpenSSL reads from DER. */
function parseDerKey(key: Buffer): KeyObject {
  for (const type of ['pkcs8', 'pkcs1'] as const) {
    try {
      return createPrivateKey({ key, format: 'der', type })
    } catch {
      // The next form is tried; the error of the last one is reported.
    }
  }
  return createPrivateKey({ key, format: 'der', type: 'sec1' })
}
