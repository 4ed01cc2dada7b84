import { X509Certificate } from 'node:crypto'
import { join } from 'node:path'
// Imported as a namespace: older versions of Node have no getCACertificates and refuse an import by that name.
import * as tls from 'node:tls'
import { homeFolder } from '../../connections/fields.ts'
import { CertificateFiles, certificatePlaces, subjectOf } from '../../credentials/certificate-files.ts'
import type { Credential } from '../../credentials/credential.ts'
import { fileSource, isHidden } from '../../credentials/reread-file.ts'
import { CaFile, CrlFile, CrlFolder, trustEvents } from '../../credentials/trust-files.ts'
import { ConfigError, type ErrorCode, PoolsmithError } from '../../errors.ts'
import type { Emit } from '../../events.ts'
import type { Secret } from '../../secret.ts'
import { effectiveSslMode, type PostgresOptions } from './options.ts'

/** The parts that a TLS handshake needs, from the files at the time of the request. */
export interface TlsSetup {
  readonly secureContext: tls.SecureContext
  readonly verify: 'none' | 'chain' | 'hostname'
  readonly clientCertificate?: { readonly subject: string; readonly expiresAt: number }
}

interface ClientPair {
  readonly certificate: string
  readonly privateKey: Secret
  readonly passphrase?: Secret
}

interface Material {
  readonly ca: string | readonly string[] | undefined
  /** One entry for each list. */
  readonly crl: readonly string[] | undefined
  readonly pair: ClientPair | undefined
}

export interface TlsSettingsContext {
  readonly emit: Emit
  /** The folder that contains `.postgresql`. Default: the home directory of the process. */
  readonly home?: string
}

/**
 * The files of `sslrootcert`, `sslcrl`, `sslcert` and `sslkey`, with libpq's default paths. A missing file is always an
 * error when it was named (libpq ignores some), and never when it is a default file. A default file in a folder that
 * this process may not enter counts as missing.
 */
export class TlsSettings {
  readonly #options: PostgresOptions
  readonly #ca: Optional<CaFile> | 'system'
  readonly #crl: Optional<CrlFile> | undefined
  readonly #crlFolder: CrlFolder | undefined
  readonly #pair: Optional<CertificateFiles>
  #latest: { readonly material: Material; readonly setup: TlsSetup } | undefined

  constructor(options: PostgresOptions, context: TlsSettingsContext) {
    const { emit, home = homeFolder() } = context
    this.#options = options
    const place = (name: string): string => join(home, '.postgresql', name)
    const trust = trustEvents(emit)
    this.#ca =
      options.sslrootcert === 'system'
        ? 'system'
        : {
            file: new CaFile(fileSource('sslrootcert', options.sslrootcert ?? place('root.crt')), trust),
            absent: options.sslrootcert === undefined ? 'CA_FILE_MISSING' : undefined,
            onHidden: warnOnce(emit, 'No certificate of a server is verified by it.'),
          }
    const { sslcrl, sslcrldir } = options
    this.#crlFolder = sslcrldir === undefined ? undefined : new CrlFolder(sslcrldir, trust)
    // As in libpq, the default file counts only where neither is named.
    this.#crl =
      sslcrl === undefined && sslcrldir !== undefined
        ? undefined
        : {
            file: new CrlFile(fileSource('sslcrl', sslcrl ?? place('root.crl')), trust),
            absent: sslcrl === undefined ? 'CRL_FILE_MISSING' : undefined,
            onHidden: warnOnce(emit, 'No certificate counts as revoked by it.'),
          }
    const isDefault = options.sslcert === undefined && options.sslcert_from === undefined
    this.#pair = {
      file: new CertificateFiles({
        ...certificatePlaces(options, place),
        passphrase: options.sslpassword,
        // A default file may be a leftover that no server asks for.
        evenExpired: isDefault,
        ...trust,
        onUnusable: (error) => emit('security:warning', { code: error.code, message: error.message }),
      }),
      absent: isDefault ? 'CERTIFICATE_FILE_MISSING' : undefined,
    }
  }

  /**
   * Reads what has changed.
   *
   * @throws PoolsmithError with a code of CertificateFiles, CaFile or CrlFile; TLS_CLIENT_CERTIFICATE_UNUSABLE
   */
  async load(credential: Credential): Promise<TlsSetup> {
    const mode = effectiveSslMode(this.#options)
    const mustVerify = mode === 'verify-ca' || mode === 'verify-full'
    const ca = this.#ca === 'system' ? systemAuthorities() : await loadOptional(this.#ca, mustVerify)
    const crl = await this.#loadLists(ca !== undefined, ca !== undefined && this.#ca !== 'system')
    const pair = await this.#loadPair(credential)
    const material: Material = { ca, crl, pair }
    const latest = this.#latest
    // Building a context with hundreds of authorities takes milliseconds, so it is reused until a file changes.
    if (latest !== undefined && sameMaterial(latest.material, material)) return latest.setup
    const setup: TlsSetup = {
      secureContext: this.#secureContext(material),
      verify: ca === undefined ? 'none' : mode === 'verify-full' ? 'hostname' : 'chain',
      ...describeClient(pair),
    }
    this.#latest = { material, setup }
    return setup
  }

  /** A credential that is a certificate replaces the files. */
  async #loadPair(credential: Credential): Promise<ClientPair | undefined> {
    if (this.#options.sslcertmode !== 'disable') {
      return credential.kind === 'certificate' ? credential : await loadOptional(this.#pair, false)
    }
    if (credential.kind !== 'certificate') return undefined
    throw new ConfigError([
      { path: 'extra.sslcertmode', message: 'disable sends no client certificate, which auth_method logs in by' },
    ])
  }

  /**
   * @param verifies whether the server's certificate is verified at all
   * @param withDefault whether libpq looks for its default list: only where a file of authorities was read
   */
  async #loadLists(verifies: boolean, withDefault: boolean): Promise<readonly string[] | undefined> {
    const { sslcrl, sslcrldir } = this.#options
    const named = sslcrl === undefined ? (sslcrldir === undefined ? undefined : 'sslcrldir') : 'sslcrl'
    if (named === undefined && !withDefault) return undefined
    if (named !== undefined && !verifies) {
      throw new ConfigError([
        {
          path: `extra.${named}`,
          message: 'checks nothing without trusted authorities; set sslrootcert, or create ~/.postgresql/root.crt',
        },
      ])
    }
    const inFile = this.#crl === undefined ? undefined : await loadOptional(this.#crl, false)
    const inFolder = await this.#crlFolder?.load()
    return inFile === undefined ? inFolder : [...inFile, ...(inFolder ?? [])]
  }

  #secureContext({ ca, crl, pair }: Material): tls.SecureContext {
    const { ssl_min_protocol_version: lowest, ssl_max_protocol_version: highest = 'TLSv1.3' } = this.#options
    try {
      return tls.createSecureContext({
        // An empty list, because Node would otherwise load its own authorities.
        ca: ca === undefined ? [] : typeof ca === 'string' ? ca : [...ca],
        minVersion: lowest,
        maxVersion: highest,
        ...(crl === undefined ? {} : { crl: [...crl] }),
        ...(pair === undefined ? {} : { cert: pair.certificate, key: pair.privateKey.reveal() }),
        ...(pair?.passphrase === undefined ? {} : { passphrase: pair.passphrase.reveal() }),
      })
    } catch (cause) {
      throw new PoolsmithError('The files for TLS were read, but OpenSSL refuses them.', {
        code: 'TLS_SETUP_FAILED',
        phase: 'tls',
        hint: 'See the cause: often a key is too short, or a chain is damaged.',
        cause,
      })
    }
  }
}

interface Optional<File> {
  readonly file: File
  /** The error code for a missing file, which is ignored where the user did not name the file. */
  readonly absent: ErrorCode | undefined
  /** Called where a default file counts as missing because this process may not see whether it exists. */
  readonly onHidden?: (error: PoolsmithError) => void
}

async function loadOptional<T>(source: Optional<{ load(): Promise<T> }>, needed: boolean): Promise<T | undefined> {
  try {
    return await source.file.load()
  } catch (error) {
    if (needed || source.absent === undefined || !(error instanceof PoolsmithError)) throw error
    if (error.code === source.absent) return undefined
    if (!isHidden(error)) throw error
    source.onHidden?.(error)
    return undefined
  }
}

function warnOnce(emit: Emit, consequence: string): (error: PoolsmithError) => void {
  let warned = false
  return ({ code, message }) => {
    if (!warned) emit('security:warning', { code, message: `${message} ${consequence}` })
    warned = true
  }
}

function describeClient(pair: ClientPair | undefined): Pick<TlsSetup, 'clientCertificate'> {
  if (pair === undefined) return {}
  const certificate = new X509Certificate(pair.certificate)
  return { clientCertificate: { subject: subjectOf(certificate), expiresAt: certificate.validToDate.getTime() } }
}

function sameMaterial(a: Material, b: Material): boolean {
  return (
    a.ca === b.ca &&
    sameLists(a.crl, b.crl) &&
    a.pair?.certificate === b.pair?.certificate &&
    a.pair?.privateKey === b.pair?.privateKey &&
    a.pair?.passphrase === b.pair?.passphrase
  )
}

function sameLists(a: readonly string[] | undefined, b: readonly string[] | undefined): boolean {
  return a === b || (a?.length === b?.length && a?.every((list, index) => list === b?.[index]) === true)
}

let systemList: readonly string[] | undefined

/** The authorities that the operating system trusts, including SSL_CERT_FILE and SSL_CERT_DIR as in OpenSSL. */
function systemAuthorities(): readonly string[] {
  // Node 22.15 and later can read the system's list; earlier versions have only their own.
  systemList ??= typeof tls.getCACertificates === 'function' ? tls.getCACertificates('system') : tls.rootCertificates
  if (systemList.length > 0) return systemList
  throw new PoolsmithError('The operating system has no list of trusted authorities.', {
    code: 'CA_FILE_MISSING',
    phase: 'tls',
    hint: 'Install the package ca-certificates, or set sslrootcert to a file.',
  })
}
