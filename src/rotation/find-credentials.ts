/** The credentials of a record, with what their places tell of their age. Nothing is asked of the database. */

import { X509Certificate } from 'node:crypto'
import { existsSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { errorCode, errorText } from '../any-error.ts'
import type { Connection } from '../connections/connection.ts'
import { homeFolder } from '../connections/fields.ts'
import { subjectOf } from '../credentials/certificate-files.ts'
import { readFileState } from '../credentials/reread-file.ts'
import { PoolsmithError } from '../errors.ts'
import { PEM_LABELS, pemBlocks } from '../pem-blocks.ts'
import { printable } from '../printable.ts'
import { Secret } from '../secret.ts'
import type { OpenStores } from '../stores/open.ts'
import type { Configured } from './configured.ts'
import type { FoundCredential } from './credential-age.ts'
import { assertGoesOn } from './goes-on.ts'
import type { CredentialKind } from './policy.ts'

/** Secrets that stay until they are replaced, by the options that hold them. */
const SECRETS: Readonly<Record<string, CredentialKind>> = {
  password: 'database_password',
  client_secret: 'client_secret',
  aws_secret_access_key: 'api_key',
  vault_secret_id: 'api_key',
}
/** The options that name a file in place of a secret. */
const FILES: Readonly<Record<string, CredentialKind>> = {
  password_file: 'database_password',
  vault_secret_id_file: 'api_key',
}
const CERTIFICATES = ['sslcert', 'client_certificate_path', 'vault_client_cert'] as const
const CERTIFICATE_FILE = {
  what: 'certificate file',
  phase: 'credential',
  missing: 'CERTIFICATE_FILE_MISSING',
  unreadable: 'CERTIFICATE_FILE_UNREADABLE',
  hint: 'Check its path.',
} as const
const KEYTABS = ['keytab', 'proxy_kerberos_keytab'] as const
/** Whose a credential is, by the option that says it. */
const OWNERS: Readonly<Record<string, string>> = {
  client_secret: 'client_id',
  aws_secret_access_key: 'aws_access_key_id',
  vault_secret_id: 'vault_role_id',
  vault_secret_id_file: 'vault_role_id',
}

/** @throws PoolsmithError ABORTED; what a place does not tell is in the notes of its credential */
export async function findCredentials(record: Configured, signal: AbortSignal): Promise<FoundCredential[]> {
  try {
    return await new Finder(record, signal).all()
  } finally {
    record.stores.close()
  }
}

class Finder {
  readonly #connection: Connection
  readonly #options: Configured['settings']
  readonly #stores: OpenStores
  readonly #signal: AbortSignal

  constructor({ connection, settings, stores }: Configured, signal: AbortSignal) {
    this.#connection = connection
    this.#options = settings
    this.#stores = stores
    this.#signal = signal
  }

  async all(): Promise<FoundCredential[]> {
    const secrets = Object.entries(SECRETS).map(([option, kind]) => this.#secret(option, kind))
    const files = Object.entries(FILES).map(([option, kind]) => this.#file(option, kind))
    const certificates = CERTIFICATES.map((option) => this.#certificate(option))
    const keytabs = KEYTABS.map((option) => this.#keytab(option))
    const found = await Promise.all([...secrets, ...files, ...certificates, ...keytabs])
    return found.filter((one) => one !== undefined)
  }

  async #secret(option: string, kind: CredentialKind): Promise<FoundCredential | undefined> {
    const identity = this.#ownerOf(option)
    const head = { kind, option, identity, ...this.#endOf(option) }
    const reference = this.#options.references.get(option)?.reference
    if (reference === undefined) {
      if (!this.#isGiven(option)) return undefined
      return { ...head, place: 'the record', notes: ['the record does not say when it was set'] }
    }
    const reader = this.#stores.readerOf(reference)
    const place = reader.placeOf(reference.path)
    try {
      const { secret } = await reader.read(reference.path, { signal: this.#signal })
      secret.read(reference.field, place)
      const { writtenAt, version } = secret
      if (writtenAt === undefined) return { ...head, place, notes: ['the store does not say when it was written'] }
      const source = version === undefined ? 'its last change in the store' : `version ${version} of the store`
      return { ...head, place, setAt: writtenAt, sources: [...head.sources, source], notes: [] }
    } catch (error) {
      return { ...head, place, notes: [this.#words(error)] }
    }
  }

  async #file(option: string, kind: CredentialKind): Promise<FoundCredential | undefined> {
    const path = this.#options.all[option]
    if (typeof path !== 'string') return undefined
    const head = { kind, option, identity: this.#ownerOf(option), place: path }
    try {
      return { ...head, setAt: (await stat(path)).mtimeMs, sources: ['the last change of the file'], notes: [] }
    } catch (error) {
      return { ...head, sources: [], notes: [this.#words(error)] }
    }
  }

  async #certificate(option: (typeof CERTIFICATES)[number]): Promise<FoundCredential | undefined> {
    const { all, references, strategy } = this.#options
    const reference = references.get(option)?.reference
    const standard = strategy.name === 'ssl_cert' && option === 'sslcert' ? standardCertificate() : undefined
    const given = all[option] ?? (reference === undefined ? standard : undefined)
    if (given === undefined && reference === undefined) return undefined
    const reader = reference && this.#stores.readerOf(reference)
    const place = reference ? String(reader?.placeOf(reference.path)) : given instanceof Secret ? 'the record' : given
    const head = { kind: 'tls_certificate', option, place: String(place) } as const
    try {
      const text =
        reader && reference
          ? await reader
              .read(reference.path, { signal: this.#signal })
              .then(({ secret }) => secret.read(reference.field, String(place)).reveal())
          : given instanceof Secret
            ? given.reveal()
            : (await readFileState(String(given), { ...CERTIFICATE_FILE, option })).content.toString('utf8')
      const [pem] = pemBlocks(text, PEM_LABELS.certificates).blocks
      if (pem === undefined) return { ...head, sources: [], notes: ['it holds no certificate in PEM form'] }
      const x509 = new X509Certificate(pem)
      const [setAt, expiresAt] = [x509.validFromDate.getTime(), x509.validToDate.getTime()]
      return { ...head, identity: subjectOf(x509), setAt, expiresAt, sources: ['notBefore', 'notAfter'], notes: [] }
    } catch (error) {
      return { ...head, sources: [], notes: [this.#words(error)] }
    }
  }

  async #keytab(option: (typeof KEYTABS)[number]): Promise<FoundCredential | undefined> {
    const { all } = this.#options
    const path = all[option]
    if (typeof path !== 'string') return undefined
    const named = all[option === 'keytab' ? 'principal' : 'proxy_kerberos_principal']
    const head = { kind: 'kerberos_keytab', option, place: path } as const
    try {
      const { Krb5 } = await import('../kerberos/native/krb5.ts')
      using krb = await Krb5.open()
      const entries = krb.keytab(path)
      const principal = typeof named === 'string' ? krb.principal(named) : entries[0]?.principal
      const own = entries.filter((entry) => entry.principal === principal)
      const newest = own.reduce((a, b) => (b.kvno > a.kvno ? b : a), own[0] ?? NO_ENTRY)
      if (newest === NO_ENTRY)
        return { ...head, sources: [], notes: [`it holds no key of ${principal ?? 'any principal'}`] }
      const versions = [...new Set(own.map(({ kvno }) => kvno))].sort((a, b) => a - b)
      const notes = versions.length === 1 ? [] : [`it holds the key versions ${versions.join(', ')}`]
      const isDated = newest.writtenAt > 0
      if (await isRotating(path)) notes.push('a rotation has begun; `poolsmith rotate --keytab` finishes it')
      return {
        ...head,
        identity: principal,
        setAt: isDated ? newest.writtenAt : undefined,
        sources: isDated ? [`key version ${newest.kvno}`] : [],
        notes: isDated ? notes : [...notes, `key version ${newest.kvno} has no time`],
      }
    } catch (error) {
      return { ...head, sources: [], notes: [this.#words(error)] }
    }
  }

  #isGiven(option: string): boolean {
    return option === 'password' ? this.#connection.password !== undefined : this.#options.all[option] instanceof Secret
  }

  #ownerOf(option: string): string | undefined {
    const owner = OWNERS[option]
    if (owner !== undefined) return textOf(this.#options.all[owner])
    return this.#connection.login
  }

  /** The end that the record says. */
  #endOf(option: string): { readonly expiresAt?: number; readonly sources: readonly string[] } {
    const said = option === 'client_secret' ? textOf(this.#options.all['client_expires']) : undefined
    return said === undefined ? { sources: [] } : { expiresAt: Date.parse(said), sources: ['client_expires'] }
  }

  #words(error: unknown): string {
    assertGoesOn(this.#signal)
    if (error instanceof PoolsmithError) return error.message
    const code = errorCode(error)
    return code === undefined ? printable(errorText(error), 200) : `it cannot be read (${code})`
  }
}

async function isRotating(keytab: string): Promise<boolean> {
  const { besideKeytab, keytabPath } = await import('../kerberos/pending-key.ts')
  const path = keytabPath(keytab)
  return path !== undefined && (existsSync(besideKeytab(path).pending) || existsSync(besideKeytab(path).next))
}

const NO_ENTRY = { principal: '', kvno: -1, encryptionType: '', writtenAt: 0 }

function standardCertificate(): string {
  return join(homeFolder(), '.postgresql', 'postgresql.crt')
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}
